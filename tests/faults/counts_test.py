from tests.faults.counts import Counts


def test_counts_add_up_over_sittings(tmp_path):
    file = tmp_path / "faults.jsonl"
    first = Counts(file)
    first.add("export", "killed", 2)
    first.add("export", "clock", 1)
    second = Counts(file)
    second.add("export", "killed", 3)
    for counts in (second, Counts(file)):
        assert counts.rounds == 3
        assert counts.of("export", "killed") == 5
        assert counts.of("export") == 6
        assert counts.of("export", "two") == counts.of("search") == 0


def test_a_sitting_alone_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = Counts()
    counts.add("export", "killed", 2)
    assert counts.of("export", "killed") == 2
    assert not list(tmp_path.iterdir())


def test_the_table_names_what_was_disturbed():
    counts = Counts()
    counts.add("export", "killed", 2)
    counts.add("export", "two", 10)
    assert counts.table(["search", "export"], ["killed", "clock", "two"]) == (
        "| command | killed | clock | two |\n| --- | --- | --- | --- |\n| export | 2 | - | 10 |\n"
    )

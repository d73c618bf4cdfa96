import os
from pathlib import Path

import pytest

from fcam_tf.predict.inputs import displayed, find_photos, unused_name


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [
        *("a/x.jpg", "a/sub/y.PNG", "a/sub/x.jpg", "a/note.txt", "a/.hidden.jpg", "a/.git/z.jpg"),
        *("b/x.jpg", "b/odd", "out/q_overlay.png", "out/q_heatmap.npy", "out/photo.jpg"),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(*arguments):
    sources, failures, _ = find_photos(arguments)
    below = [(os.path.relpath(source.path), source.name) for source in sources]
    return below, [(failure.file, failure.reason) for failure in failures]


@pytest.mark.usefixtures("tree")
class TestFindPhotos:
    def test_folder_is_searched_and_keeps_its_places(self):
        expected = [("a/sub/x.jpg", "sub/x"), ("a/sub/y.PNG", "sub/y"), ("a/x.jpg", "x")]
        assert found("a") == (expected, [])
        assert found("a/") == (expected, [])

    def test_what_cannot_be_read_is_not_passed_over(self, tree):
        (tree / "b/y.jpg").symlink_to("nowhere")
        (tree / "b/folder.jpg").mkdir()
        expected = ([("b/x.jpg", "x"), ("b/y.jpg", "y")], [])
        assert found("b") == expected
        assert found("b/*.jpg") == expected

    def test_linked_folders_are_told(self, tree):
        (tree / "b/round").symlink_to(".")
        (tree / "b/.hidden").symlink_to(".")
        sources, failures, notes = find_photos(["b"])
        assert [source.name for source in sources] == ["x"]
        assert not failures
        assert notes[1:] == ["1 passed over, linked folders, which are not followed: b/round"]

    def test_a_named_file_may_have_any_name(self):
        assert found("b/odd", "a/.hidden.jpg") == (
            [("b/odd", "odd"), ("a/.hidden.jpg", ".hidden")],
            [],
        )

    def test_glob(self):
        assert found("*/x.jpg") == ([("a/x.jpg", "a/x"), ("b/x.jpg", "b/x")], [])
        assert found("a/**/*.jpg")[0] == [("a/sub/x.jpg", "sub/x"), ("a/x.jpg", "x")]

    def test_a_file_whose_name_looks_like_a_glob(self, tree):
        (tree / "b/[1].jpg").touch()
        assert found("b/[1].jpg") == ([("b/[1].jpg", "[1]")], [])

    def test_named_twice_is_listed_once(self, tree):
        assert found("a/x.jpg", "./a/../a/x.jpg", str(tree / "a/x.jpg"), "a/x*")[0] == [
            ("a/x.jpg", "x")
        ]

    def test_outputs_of_any_job_are_not_photos(self, tree):
        assert ("out/q_overlay.png", "q_overlay") in found("out")[0]  # whose name says little
        (tree / "out/results.jsonl").touch()
        (tree / "out/deep").mkdir()
        (tree / "out/deep/q_heatmap.png").touch()
        assert found("out", "out/*")[0] == [("out/photo.jpg", "photo")]
        sources, _, notes = find_photos(["."])
        assert "out/photo.jpg" in {os.path.relpath(source.path) for source in sources}
        assert notes == [
            "2 passed over, not photos by their names: a/note.txt, b/odd",
            "2 passed over, outputs of an earlier job: out/deep/q_heatmap.png, out/q_overlay.png",
        ]

    def test_what_a_job_has_brought_in_is_not_searched_again(self, tree):
        (tree / "out/inputs/a.zip").mkdir(parents=True)
        (tree / "out/inputs/a.zip/cat.png").touch()
        (tree / "out/inputs/a.zip/.brought.json").touch()
        assert not [name for _, name in found(".")[0] if "cat" in name]
        assert found("out/inputs/a.zip")[0] == [("out/inputs/a.zip/cat.png", "cat")]

    def test_outputs_stay_in_their_folder(self):
        assert found("b/*/../../a/x.jpg", "*/../a/x.jpg")[0] == [("a/x.jpg", "a/x")]
        assert found("a/../a/sub/../*.jpg")[0] == [("a/x.jpg", "x")]

    @pytest.mark.parametrize(
        ("patterns", "left"),
        [
            (["sub"], ["x"]),
            (["x.*"], ["sub/y"]),
            (["sub/*"], ["x"]),
            (["*.PNG", "a"], ["sub/x", "x"]),
            (["nothing"], ["sub/x", "sub/y", "x"]),
        ],
    )
    def test_patterns_leave_photos_out(self, patterns, left):
        sources, failures, notes = find_photos(["a"], patterns)
        assert [source.name for source in sources] == left
        assert failures == []
        assert f"{3 - len(left) or 'nothing'} left out by --exclude" in notes

    def test_an_empty_name_is_not_this_folder(self):
        assert found("") == ([], [("''", "an empty name")])

    def test_what_stands_for_nothing(self, tree):
        (tree / "bare").mkdir()
        assert found("none.jpg", "bare", "z*.jpg") == (
            [],
            [
                ("none.jpg", "there is no such file"),
                ("bare", "there is no photo in this folder"),
                ("z*.jpg", "no photo matches"),
            ],
        )

    def test_long_and_undecodable_names_make_usable_ones(self, tree):
        long = tree / ("ü" * 120 + ".jpg")  # 240 bytes
        bad = Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9.jpg"))
        alone = Path(os.fsdecode(os.fsencode(tree) + b"/\xff.jpg"))
        for path in (long, bad, alone):
            path.touch()
        names = [name for _, name in found(str(long), str(bad), str(alone))[0]]
        assert names == ["ü" * 100, "caf", "photo"]


def test_unused_name():
    assert unused_name("a/cat", set()) == "a/cat"
    assert unused_name("Cat", {"cat", "cat-2"}) == "Cat-3"


def test_displayed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert displayed(str(tmp_path / "a.jpg")) == "a.jpg"
    assert displayed("/elsewhere/a.jpg") == "/elsewhere/a.jpg"
    assert displayed("ü\n\x1b[31m\udce9.jpg") == "ü\\n\\x1b[31m\\udce9.jpg"


def test_a_glob_tells_of_folders_that_it_does_not_search(tmp_path):
    (tmp_path / "day").mkdir()
    for name in ("a.jpg", "day/b.jpg"):
        (tmp_path / name).touch()
    found, failures, (note,) = find_photos([f"{tmp_path}/*"])
    assert ([source.name for source in found], failures) == (["a"], [])
    assert note.startswith("1 passed over, folders that a glob matches")
    found, _, notes = find_photos([f"{tmp_path}/**"])
    assert [source.name for source in found] == ["a", "day/b"]
    assert notes == []


def test_a_glob_does_not_follow_links_that_lead_round(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.jpg").touch()
    (tmp_path / "day" / "again").symlink_to(tmp_path / "day")
    (tmp_path / "other").symlink_to(tmp_path / "day")
    found, failures, _ = find_photos([f"{tmp_path}/**/*.jpg"])
    assert ([source.name for source in found], failures) == (["day/a", "other/a"], [])

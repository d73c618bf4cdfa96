import json
import os

import pytest

from fcam_tf.claim import FolderBusyError, SettingsChangedError
from fcam_tf.predict.results import (
    ResultsFile,
    Settings,
    read_results,
)

SETTINGS = Settings("net", "abc", "layercam", "otsu")


def record(file, **more):
    return {
        "file": file,
        "overlay": f"{file}_overlay.png",
        "heatmap": None,
        "modified": 1.5,
        **more,
    }


def write(folder, *records, settings=SETTINGS, **options):
    with ResultsFile(folder, settings, **options) as results:
        results.start()
        for entry in records:
            results.append(entry)


def test_what_was_written_is_read(tmp_path):
    out = tmp_path / "new" / "out"
    write(out, record("a"), record("größe \udce9 猫\n"))
    assert [r["file"] for r in read_results(out)] == ["a", "größe \udce9 猫\n"]
    with ResultsFile(out, SETTINGS) as results:
        assert list(results.finished) == ["a", "größe \udce9 猫\n"]
        assert results.finished["a"].name == "a"
        assert results.finished["a"].outputs == ("a_overlay.png",)


def test_unicode_stays_readable(tmp_path):
    write(tmp_path, record("größe"))
    assert "größe" in (tmp_path / "results.jsonl").read_text("utf-8")


def test_nothing_is_made_before_the_start(tmp_path):
    ResultsFile(tmp_path / "out", SETTINGS).close()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_repaired(tmp_path, kept):
    write(tmp_path, record("a"), record("b"))
    path = tmp_path / "results.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    write(tmp_path, record("c"))
    assert [json.loads(line)["file"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_a_missing_last_newline_loses_nothing(tmp_path):
    write(tmp_path, record("a"))
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes().rstrip())
    write(tmp_path, record("b"))
    assert [json.loads(line)["file"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_forgotten_and_repeated_results_go(tmp_path):
    write(tmp_path, record("a", n=1), record("b"), record("a", n=2))
    with ResultsFile(tmp_path, SETTINGS) as results:
        results.start(forget={"b"})
    assert [(r["file"], r["n"]) for r in read_results(tmp_path)] == [("a", 2)]


def test_other_settings_are_explained(tmp_path):
    write(tmp_path, record("a"))
    other = Settings("net", "abc", "gradcam", 0.2)
    with pytest.raises(
        SettingsChangedError, match="method was 'layercam' and is now 'gradcam', thr"
    ):
        ResultsFile(tmp_path, other)
    write(tmp_path, record("b"), settings=other, overwrite=True)
    assert [r["file"] for r in read_results(tmp_path)] == ["b"]


def test_overwriting_with_the_same_settings_keeps_what_is_not_forgotten(tmp_path):
    write(tmp_path, record("a"))
    write(tmp_path, record("b"), overwrite=True)
    assert [r["file"] for r in read_results(tmp_path)] == ["a", "b"]


def test_results_of_unknown_settings(tmp_path):
    write(tmp_path, record("a"))
    (tmp_path / "settings.json").unlink()
    with pytest.raises(SettingsChangedError, match=r"settings\.json is missing"):
        ResultsFile(tmp_path, SETTINGS)


def test_other_settings_of_no_results_do_not_matter(tmp_path):
    write(tmp_path)
    write(tmp_path, record("a"), settings=Settings("net", "abc", "cam", 0.5))


def test_a_second_writer_is_refused(tmp_path):
    with ResultsFile(tmp_path, SETTINGS), pytest.raises(FolderBusyError, match="another process"):
        ResultsFile(tmp_path, SETTINGS)
    ResultsFile(tmp_path, SETTINGS).close()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    with ResultsFile(tmp_path, SETTINGS) as results:
        results.start()
        results.append(record("a"))
        before = (tmp_path / "results.jsonl").read_bytes()
        real = results._file
        results._file = FullDisk(real)
        with pytest.raises(OSError, match="No space"):
            results.append(record("b"))
        results._file = real
        assert (tmp_path / "results.jsonl").read_bytes() == before
        results.append(record("c"))
    assert [r["file"] for r in read_results(tmp_path)] == ["a", "c"]


class FullDisk:
    """Takes ten bytes, then no more."""

    def __init__(self, file):
        self.file = file
        self.room = 10

    def write(self, data):
        if not self.room:
            raise OSError(28, os.strerror(28))
        self.room = 0
        return self.file.write(data[:10])

    def __getattr__(self, name):
        return getattr(self.file, name)

import json
import subprocess
import sys
import threading

import pytest

from fcam_tf.claim import FolderBusyError, SettingsChangedError, claim

OLD = {"model": "abc", "recipe": {"rate": 0.1, "steps": 5}}
KILLED = """
import os, pathlib, sys
from fcam_tf.claim import claim
with claim(pathlib.Path(sys.argv[1]), {}, []) as claimed:
    claimed.begin()
    os._exit(9)
"""


def make(folder, settings=OLD, result="a.txt", **options):
    """Make a result by settings, and tell whether those there were gone on with."""
    with claim(folder, settings, ["a.txt", "b"], **options) as claimed:
        claimed.begin()
        if result:
            (folder / result).write_text("result")
        return claimed.goes_on


def test_the_same_settings_go_on(tmp_path):
    folder = tmp_path / "deep" / "out"
    assert not make(folder)
    assert make(folder)
    assert make(folder, {"recipe": {"steps": 5, "rate": 0.1}, "model": "abc"})
    assert json.loads((folder / "settings.json").read_text()) == OLD


def test_settings_of_an_older_version_go_on(tmp_path):
    make(tmp_path, {"recipe": {"val_share": 0.2}})
    recipe = {"val_fraction": 0.2, "val_per_class": 0, "proxy": False}
    assert make(tmp_path, {"recipe": recipe})
    make(tmp_path / "a", {"threshold_split": "val"})
    assert make(tmp_path / "a", {"threshold_split": "val", "scaling": "bilinear"})
    with pytest.raises(SettingsChangedError, match="scaling was 'bilinear' and is now 'bicubic'"):
        make(tmp_path / "a", {"threshold_split": "val", "scaling": "bicubic"})


def test_what_differs_is_named_with_both_values_and_the_remedy(tmp_path):
    make(tmp_path)
    with pytest.raises(SettingsChangedError) as caught:
        make(tmp_path, {"model": "x" * 100, "recipe": {"rate": 0.2, "steps": 5, "l2": None}})
    assert str(caught.value) == (
        f"{tmp_path} holds results of other settings: model was 'abc' and is now '{'x' * 66}..., "
        "recipe.rate was 0.1 and is now 0.2, recipe.l2 was not set and is now None; give "
        "another folder, or remove this one to start afresh"
    )


def test_nothing_is_changed_by_a_refusal_nor_before_the_beginning(tmp_path):
    make(tmp_path)
    with pytest.raises(SettingsChangedError, match="now 2; think"):
        make(tmp_path, {**OLD, "model": 2}, remedy="think")
    with claim(tmp_path, {**OLD, "model": 2}, ["a.txt"], overwrite=True) as claimed:
        assert not claimed.goes_on
    assert (tmp_path / "a.txt").exists()
    assert json.loads((tmp_path / "settings.json").read_text()) == OLD


def test_a_folder_that_nothing_was_written_to_is_removed_again(tmp_path):
    with claim(tmp_path / "deep" / "out", OLD, []):
        assert (tmp_path / "deep" / "out").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with claim(tmp_path / "mine", OLD, []):
        pass
    assert (tmp_path / "mine").is_dir()


def test_overwriting_removes_results_of_other_settings_and_nothing_else(tmp_path):
    make(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "part").touch()
    (tmp_path / "mine.txt").touch()
    assert make(tmp_path, overwrite=True, result=None)
    assert (tmp_path / "a.txt").exists()
    assert not make(tmp_path, {**OLD, "model": "d"}, overwrite=True, result=None)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "settings.json"}


def test_those_of_the_same_settings_may_be_removed_too(tmp_path):
    make(tmp_path)
    with claim(tmp_path, OLD, ["*.txt"]) as claimed:
        claimed.begin(afresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_settings_without_results_do_not_matter(tmp_path):
    make(tmp_path, result=None)
    (tmp_path / "a.txt").touch()  # of a process that was killed before its first result
    assert not make(tmp_path, {**OLD, "model": "d"})


@pytest.mark.parametrize("settings", [None, b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_results_of_unknown_settings_are_refused(tmp_path, settings):
    (tmp_path / "a.txt").write_text("result")
    if settings is not None:
        (tmp_path / "settings.json").write_bytes(settings)
    with pytest.raises(SettingsChangedError, match=r"settings\.json is missing or damaged"):
        make(tmp_path)


def test_a_folder_of_another_command_is_refused(tmp_path):
    (tmp_path / "settings.json").write_text('{"split": "test"}')
    (tmp_path / "results.csv").write_text("rows")  # none of ours
    with pytest.raises(
        SettingsChangedError, match="holds results of another command or version; give"
    ):
        make(tmp_path)


def test_notes_are_kept_and_may_differ(tmp_path):
    make(tmp_path, notes={"versions": {"keras": "3.0"}}, file="run.json")
    assert make(tmp_path, notes={"versions": {"keras": "3.1"}}, file="run.json")
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept == {"settings": OLD, "versions": {"keras": "3.1"}}


def test_a_second_one_is_refused_or_waits(tmp_path):
    done = []
    waiting = threading.Thread(target=lambda: done.append(make(tmp_path, wait=True)))
    with claim(tmp_path, OLD, []) as claimed:
        claimed.begin()
        with pytest.raises(FolderBusyError, match=f"writing to {tmp_path}; wait for it, or choose"):
            make(tmp_path)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(20)
    assert done == [True]


def test_who_waits_for_a_folder_that_is_removed_makes_it_anew(tmp_path):
    out, done = tmp_path / "out", []
    waiting = threading.Thread(target=lambda: done.append(make(out, wait=True)))
    with claim(out, OLD, []):
        waiting.start()
        waiting.join(0.2)
    waiting.join(20)
    assert done == [False]
    assert (out / "a.txt").exists()


def test_a_killed_process_leaves_no_lock(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert killed.returncode == 9
    assert make(tmp_path, {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "settings.json"}


def test_where_there_are_no_locks_the_work_goes_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    make(tmp_path)
    assert make(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(NotADirectoryError):
        make(tmp_path / "out")

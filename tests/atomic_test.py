import signal
import subprocess
import sys

import pytest

from fcam_tf.atomic import new_folder, write_atomically


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path):
    path, plain = tmp_path / "a.bin", tmp_path / "b.bin"
    write_atomically(path, b"")
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_new_folder_appears_whole(tmp_path):
    folder = tmp_path / "deep" / "set"
    with new_folder(folder) as place:
        (place / "a.txt").write_text("a")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert list(folder.parent.iterdir()) == [folder]
    with pytest.raises(FileExistsError, match="set exists"), new_folder(folder):
        pass


def test_a_failed_folder_is_not_left_behind(tmp_path):
    def fill():
        with new_folder(tmp_path / "set") as place:
            (place / "a.txt").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert list(tmp_path.iterdir()) == []


MAKE = """
import pathlib, sys
from fcam_tf.atomic import new_folder
def reach(moment):
    print(moment, flush=True)
    if moment == sys.argv[2]:
        sys.stdin.read()
with new_folder(pathlib.Path(sys.argv[1])) as place:
    reach("begun")
    with (place / "a.txt").open("w") as file:
        print("one half", file=file, flush=True)
        reach("half a file")
        print("the other", file=file)
    reach("a file")
    (place / "b.txt").touch()
    reach("both")
reach("made")
"""
MOMENTS = ("begun", "half a file", "a file", "both", "made")


def making(folder, until):
    """Make a folder in another process, which waits at a moment until its input is closed."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", MAKE, folder, until], text=True, **pipes)
    while process.stdout.readline() not in (f"{until}\n", ""):
        pass
    return process


def check_whole(folder):
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {"a.txt": "one half\nthe other\n", "b.txt": ""}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killing_what_makes_a_folder_leaves_nothing_half(tmp_path, moment):
    folder = tmp_path / "a[1]"  # no pattern
    with making(folder, moment) as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    if moment != "made":
        assert [path.name[:11] for path in tmp_path.iterdir()] == [".part.a[1]."]
        others = {".part.a[2].12345678", ".a[1].12345678"}
        for name in others:
            (tmp_path / name).mkdir()
        with making(folder, "made") as process:
            process.communicate()
        assert {path.name for path in tmp_path.iterdir()} == {"a[1]", *others}
    check_whole(folder)


def test_of_two_that_make_a_folder_the_first_to_end_wins(tmp_path):
    folder = tmp_path / "a"
    with making(folder, "a file") as first, making(folder, "both") as second:
        assert len(list(tmp_path.iterdir())) == 2  # neither took the other's for left behind
        second.communicate()
        assert second.returncode == 0
        check_whole(folder)
        _, said = first.communicate()
        assert first.returncode == 1
        assert "FileExistsError: " in said.splitlines()[-1]
        assert "a exists; give a new folder" in said
    assert list(tmp_path.iterdir()) == [folder]
    check_whole(folder)


def test_folders_are_made_where_they_cannot_be_locked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    other = tmp_path / ".part.a.1"  # perhaps somebody is at it
    other.mkdir()
    with new_folder(tmp_path / "a") as place:
        (place / "b.txt").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".part.a.1"}


def test_what_ends_while_another_looks_for_leftovers_is_left_alone(tmp_path, monkeypatch):
    gone = tmp_path / ".part.a.1"
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: [gone])  # renamed since it was listed
    with new_folder(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]

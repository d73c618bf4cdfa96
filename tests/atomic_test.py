import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fcam_tf.atomic import locked, new_folder, replacing, write_atomically, write_csv


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


def test_a_full_disk_s_message_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match=r"full: .*/a\.bin'$"):
        write_atomically(tmp_path / "a.bin", b"new")


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
        assert [path.name for path in tmp_path.iterdir()] == [".a[1].part"]
        others = {".a[2].part", ".a1.part"}
        for name in others:
            (tmp_path / name / "b").mkdir(parents=True)
        with making(folder, "made") as process:
            process.communicate()
        assert {path.name for path in tmp_path.iterdir()} == {"a[1]", *others}
    check_whole(folder)


def test_of_two_that_make_a_folder_the_first_to_end_wins(tmp_path):
    folder = tmp_path / "a"
    with making(folder, "a file") as first, making(folder, "both") as second:
        assert len(list((tmp_path / ".a.part").iterdir())) == 2  # none was taken for left behind
        second.communicate()
        assert second.returncode == 0
        check_whole(folder)
        _, said = first.communicate()
        assert first.returncode == 1
        assert "FileExistsError: " in said.splitlines()[-1]
        assert "a exists; give a new folder" in said
    assert list(tmp_path.iterdir()) == [folder]
    check_whole(folder)


def refuse_locks(*_):
    raise OSError(45, "Operation not supported")


def test_folders_are_made_where_they_cannot_be_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", refuse_locks)
    other = tmp_path / ".a.part" / "1"  # perhaps somebody is at it
    other.mkdir(parents=True)
    with new_folder(tmp_path / "a") as place:
        (place / "b.txt").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".a.part"}
    assert other.exists()


def test_what_ends_while_another_looks_for_leftovers_is_left_alone(tmp_path, monkeypatch):
    gone = tmp_path / ".a.part" / "1"
    real = Path.iterdir
    # Renamed since it was listed.
    monkeypatch.setattr("pathlib.Path.iterdir", lambda path: iter([*real(path), gone]))
    with new_folder(tmp_path / "a"):
        pass
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_folders_are_made_within_folders_and_beside_each_other(tmp_path):
    with new_folder(tmp_path / "a") as outer, new_folder(tmp_path / "b") as beside:
        with new_folder(outer / "c") as inner:
            (inner / "d.txt").touch()
        write_atomically(outer / "e.txt", b"")
        (beside / "f.txt").touch()
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"a", "a/c", "a/c/d.txt", "a/e.txt", "b", "b/f.txt"}


def test_two_that_write_a_file_at_once_do_not_mix(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        assert first.name == second.name == "a.bin"  # some formats go by the ending
        first.write_bytes(b"first" * 1000)
        second.write_bytes(b"second")
        assert not path.exists()
    assert path.read_bytes() == b"first" * 1000  # whose block ended last
    assert list(tmp_path.iterdir()) == [path]


def test_many_threads_that_write_a_file_leave_it_whole(tmp_path):
    path = tmp_path / "a.bin"
    contents = {bytes([value]) * 10_000 for value in range(8)}

    def write(content):
        for _ in range(20):
            write_atomically(path, content)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert list(tmp_path.iterdir()) == [path]


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    code = (
        "import os, pathlib, sys; from fcam_tf.atomic import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as part: part.touch(); os._exit(9)"
    )
    path = tmp_path / "a.bin"
    with replacing(path) as living:
        living.touch()
        assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 9
        assert len(list((tmp_path / ".a.bin.part").iterdir())) == 2
        write_atomically(path, b"new")
        assert list((tmp_path / ".a.bin.part").iterdir()) == [living.parent]
    assert list(tmp_path.iterdir()) == [path]


def test_who_makes_a_folder_removes_what_killed_ones_left_of_others(tmp_path):
    code = (
        "import os, pathlib, sys; from fcam_tf.atomic import new_folder\n"
        "with new_folder(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    foreign = {".kept.part", ".kept.part/other", ".file.part", ".link.part"}
    (tmp_path / ".kept.part" / "other").mkdir(parents=True)
    (tmp_path / ".file.part").touch()
    elsewhere = tmp_path / "elsewhere" / "tmp00000000"
    elsewhere.mkdir(parents=True)
    (tmp_path / ".link.part").symlink_to(elsewhere.parent)
    with replacing(tmp_path / "c.onnx") as living:
        killed = [sys.executable, "-c", code, tmp_path / "a"]
        assert subprocess.run(killed, check=False).returncode == 9
        assert len(list((tmp_path / ".a.part").iterdir())) == 1
        with new_folder(tmp_path / "b"):
            pass
        assert living.parent.exists()
        living.touch()
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found - {"elsewhere", "elsewhere/tmp00000000"} == {"b", "c.onnx", *foreign}
    assert elsewhere.exists()


def test_a_locked_folder_is_refused_or_waited_for(tmp_path):
    with locked(tmp_path) as alone:
        assert alone
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pass
    with locked(tmp_path, wait=True) as alone:
        assert alone
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", refuse_locks)
    with locked(tmp_path) as alone:
        assert not alone


def test_a_table_has_all_columns(tmp_path):
    write_csv(tmp_path / "a.csv", [{"a": 1, "b": None}, {"a": 2, "c": "x,y"}])
    assert (tmp_path / "a.csv").read_text() == 'a,b,c\n1,,\n2,,"x,y"\n'


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_folder_that_is_replaced_is_never_away(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    folder.mkdir()

    def rename(path, target):
        pytest.fail(f"{path.name} goes to {target} and leaves a moment without it")

    monkeypatch.setattr("pathlib.Path.rename", rename)
    with new_folder(folder, replace=True) as place:
        (place / "new.txt").touch()
    assert [path.name for path in folder.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_is_replaced_by_a_whole_one_or_stays(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "old.txt").touch()
    with new_folder(folder, replace=True) as place:
        (place / "new.txt").touch()
        assert [path.name for path in folder.iterdir()] == ["old.txt"]
    assert [path.name for path in folder.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [folder]
    monkeypatch.setattr("fcam_tf.atomic._exchanged", lambda *_: False)  # as of other systems
    rename = Path.rename

    def fail(path, target):
        if path.parent.name == ".a.part" and not path.name.endswith(".before"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr("pathlib.Path.rename", fail)
    with pytest.raises(OSError, match="No space"), new_folder(folder, replace=True):
        pass
    assert [path.name for path in folder.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_in_the_place_of_a_file_is_named_before_the_work(tmp_path):
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(IsADirectoryError) as caught, replacing(tmp_path / "a.onnx"):
        pytest.fail("the work has begun")
    assert caught.value.filename == str(tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]

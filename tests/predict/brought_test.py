import io
import os
import tarfile
import threading
import types
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from fcam_tf.predict import archives, brought
from fcam_tf.predict.brought import Brought, bring_in
from fcam_tf.predict.inputs import find_photos


def png(colour="red"):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return file.getvalue()


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "out" / "inputs"


def test_files_folders_and_globs_stay_as_they_are(tmp_path, kept):
    (tmp_path / "a.jpg").write_bytes(png())
    given = [str(tmp_path / "a.jpg"), str(tmp_path), "*.jpg", "nothing.zip", "", "C://x"]
    assert bring_in(given, kept) == Brought(given)
    assert not kept.exists()


def test_photos_of_an_archive_keep_their_places(tmp_path, kept):
    members = {"cat.png": png(), "1/dog.JPG": png(), "note.txt": b"x", "1/": b""}
    members |= {"__MACOSX/cat.png": b"x", ".hidden/cat.png": b"x", "1/._dog.jpg": b"x"}
    archive = zipped(tmp_path / "a.zip", members)
    told = []
    found = bring_in([archive], kept, tell=told.append)
    assert found.arguments == [str(kept / "a.zip")]
    assert below(kept) == ["a.zip/.brought.json", "a.zip/1/dog.JPG", "a.zip/cat.png"]
    assert told == ["a.zip: 2 photos"]
    sources, failures, _ = find_photos(found.arguments, kept=kept)
    assert [s.name for s in sources] == ["a.zip/1/dog", "a.zip/cat"]
    assert failures == []
    assert found.origin_of(sources[0].path) == f"{archive}/1/dog.JPG"
    assert found.origin_of(tmp_path / "cat.png") is None


def test_a_glob_of_archives_and_photos(tmp_path, kept, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        zipped(tmp_path / f"{name}.zip", {f"{name}.png": png()})
    assert bring_in(["*.zip"], kept).arguments == [str(kept / "a.zip"), str(kept / "b.zip")]
    (tmp_path / "c.png").write_bytes(png())
    found = bring_in(["*"], kept)  # "out" is there by now
    assert found.arguments == ["*", str(kept / "a.zip"), str(kept / "b.zip")]
    sources, failures, _ = find_photos(found.arguments, kept=kept)
    assert [source.name for source in sources] == ["c", "a.zip/a", "b.zip/b"]
    assert failures == []


def test_a_glob_takes_no_video_of_an_earlier_job(tmp_path, kept):
    (tmp_path / "results.jsonl").touch()
    (tmp_path / "clip.mp4_overlay.mp4").write_bytes(b"x")
    assert bring_in([f"{tmp_path}/*.mp4"], kept) == Brought([f"{tmp_path}/*.mp4"])


def test_an_archive_is_unpacked_once_and_again_if_it_changes(tmp_path, kept):
    archive = zipped(tmp_path / "a.zip", {"cat.png": png()})
    bring_in([archive], kept)
    stamp = (kept / "a.zip" / "cat.png").stat().st_ino
    bring_in([archive], kept)
    assert (kept / "a.zip" / "cat.png").stat().st_ino == stamp
    zipped(archive, {"dog.png": png("blue")})
    os.utime(archive, (1, 1))
    bring_in([archive], kept)
    assert below(kept) == ["a.zip/.brought.json", "a.zip/dog.png"]


def test_archives_of_one_name_have_places_of_their_own(tmp_path, kept):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        zipped(tmp_path / name / "a.zip", {f"{name}.png": png()})
    for _ in range(2):
        found = bring_in([tmp_path / "x/a.zip", tmp_path / "y/a.zip"], kept)
        assert found.arguments == [str(kept / "a.zip"), str(kept / "a-2.zip")]
    assert (kept / "a-2.zip" / "y.png").exists()


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "a/../b.png"]
)
def test_no_member_leaves_the_folder(tmp_path, kept, name):
    before = set(tmp_path.rglob("*"))
    bring_in([zipped(tmp_path / "a.zip", {name: png()})], kept)
    new = {p for p in tmp_path.rglob("*") if p.is_file()} - before - {tmp_path / "a.zip"}
    assert len(new) == 2
    assert all(p.is_relative_to(kept / "a.zip") for p in new)


def test_members_that_come_to_one_place_are_all_kept(tmp_path, kept):
    names = ["a.png", "../a.png", "a.png/b.png", "A.png", f"{'猫' * 100}.png"]
    told = []
    bring_in([zipped(tmp_path / "a.zip", {n: png() for n in names})], kept, tell=told.append)
    assert told == ["a.zip: 5 photos"]
    assert below(kept / "a.zip") == [
        *(".brought.json", "A.png", "a-2.png", "a-3.png/b.png", "a.png"),
        f"{'猫' * 65}.png",
    ]


def test_of_members_of_one_name_the_last_counts(tmp_path, kept):
    path, told = tmp_path / "a.tar", []
    with tarfile.open(path, "w") as tar:  # as tar -r makes it
        for data in (png("red"), png("blue")):
            info = tarfile.TarInfo("a.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    bring_in([path], kept, tell=told.append)
    assert told == ["a.tar: 1 photos"]
    assert (kept / "a.tar/a.png").read_bytes() == png("blue")


def test_an_archive_with_a_password(tmp_path, kept):
    path = zipped(tmp_path / "a.zip", {"a.png": png()})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    (failure,) = bring_in([path], kept).failures
    assert failure.reason == "the archive cannot be read: it has a password"


def test_a_photo_with_a_password_does_not_end_the_others(tmp_path, kept):
    path = zipped(tmp_path / "a.zip", {name: png() for name in ("a.png", "b.png", "c.png")})
    data = bytearray(path.read_bytes())
    for signature, before in ((b"PK\3\4", 30), (b"PK\1\2", 46)):  # bytes before the name
        name = data.index(b"b.png", data.index(signature))
        data[name - before + (6 if before == 30 else 8)] |= 1
    path.write_bytes(data)
    (failure,) = bring_in([path], kept).failures
    assert (failure.file, failure.reason) == (
        f"{path}/b.png",
        "it cannot be read: it has a password",
    )
    assert below(kept / "a.zip") == [".brought.json", "a.png", "c.png"]


@pytest.mark.parametrize("kind", ["gz", "xz", ""])
def test_tar_without_links_and_devices(tmp_path, kept, kind):
    path = tmp_path / f"a.tar{kind and '.'}{kind}"
    with tarfile.open(path, f"w:{kind}") as tar:
        for name, type_ in {"cat.png": tarfile.REGTYPE, "link.png": tarfile.SYMTYPE}.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(png()), type_, "/etc/passwd"
            tar.addfile(info, io.BytesIO(png()))
    bring_in([path], kept)
    assert below(kept) == [f"{path.name}/.brought.json", f"{path.name}/cat.png"]


def test_what_fails_leaves_nothing_and_the_rest_goes_on(tmp_path, kept, monkeypatch):
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 but no more")
    (tmp_path / "bad.tar.gz").write_bytes(b"no tar")
    zipped(tmp_path / "empty.zip", {"note.txt": b"x"})
    cut = zipped(tmp_path / "cut.zip", {"cat.png": png()})
    data = bytearray(cut.read_bytes())
    data[45] ^= 255  # in the photo: its checksum is wrong
    cut.write_bytes(data)
    good = zipped(tmp_path / "good.zip", {"cat.png": png()})
    names = ["bad.zip", "bad.tar.gz", "empty.zip", "cut.zip"]
    found = bring_in([*(tmp_path / name for name in names), good], kept)
    assert [failure.reason.partition(":")[0] for failure in found.failures] == [
        *("the archive cannot be read", "the archive cannot be read"),
        *("there is no photo in it", "the archive cannot be read"),
    ]
    assert below(kept) == ["good.zip/.brought.json", "good.zip/cat.png"]
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=10))
        (failure,) = bring_in([good], kept, afresh=True).failures
        assert failure.reason == "its photos need more than what the disk has free"
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    (failure,) = bring_in([good], kept, afresh=True).failures
    assert "which is too much" in failure.reason


def test_of_an_archive_with_one_damaged_photo_the_others_are_kept(tmp_path, kept):
    photos = {"a.png": png("red"), "1/b.png": png("blue"), "c.png": png("green")}
    archive = zipped(tmp_path / "a.zip", photos)
    data = bytearray(archive.read_bytes())
    data[data.index(png("blue")) + 45] ^= 255  # its checksum is wrong
    archive.write_bytes(data)
    for _ in range(2):  # the second job tells it again
        found = bring_in([archive], kept)
        (failure,) = found.failures
        assert failure.file == f"{archive}/1/b.png"
        assert failure.reason.startswith("it cannot be read: Bad CRC-32")
        assert below(kept / "a.zip") == [".brought.json", "a.png", "c.png"]


def test_of_an_archive_that_is_cut_the_beginning_is_kept(tmp_path, kept):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
    path.write_bytes(path.read_bytes()[: 1536 + 10])  # headers and contents are blocks of 512
    assert [(failure.file, failure.reason) for failure in bring_in([path], kept).failures] == [
        (f"{path}/b.png", "it cannot be read: unexpected end of data"),
        (str(path), "the archive cannot be read to its end: unexpected end of data"),
    ]
    assert below(kept / "a.tar") == [".brought.json", "a.png"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data.replace(b"b.png", b"B.png"), "bad checksum"),
        (lambda data: data[: data.index(b"b.png") + 99], "truncated header"),
    ],
)
def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path, kept, damage, reason):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("a.png", "b.png", "c.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
    (tmp_path / "a.tar").write_bytes(damage((tmp_path / "a.tar").read_bytes()))
    (failure,) = bring_in([tmp_path / "a.tar"], kept).failures
    assert failure.reason == f"the archive cannot be read to its end: {reason}"
    assert below(kept / "a.tar") == [".brought.json", "a.png"]


@pytest.mark.parametrize("length", ["9" * 20, "9" * 5000])
def test_a_number_that_is_too_large_in_a_tar_is_damage(tmp_path, kept, length):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data, kind in (
            ("a.png", png(), tarfile.REGTYPE),
            ("header", f"{length} path=b.png\n".encode(), tarfile.XHDTYPE),
            ("b.png", png(), tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            tar.addfile(info, io.BytesIO(data))
    (failure,) = bring_in([tmp_path / "a.tar"], kept).failures
    assert failure.reason.startswith("the archive cannot be read to its end: ")
    assert below(kept / "a.tar") == [".brought.json", "a.png"]


def tarred(path, names, kind=""):
    with tarfile.open(path, f"w:{kind}") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_tar_files_in_one_file_are_all_read(tmp_path, kept, kind):
    data = [tarred(tmp_path / "part", names, kind) for names in (["a.png", "b.png"], ["c.png"])]
    path = tmp_path / ".".join(filter(None, ["a.tar", kind]))
    path.write_bytes(b"".join(data))  # as `cat` does it, and tar's -A without compression
    assert bring_in([path], kept).failures == []
    assert below(kept / path.name) == [".brought.json", "a.png", "b.png", "c.png"]


def test_zeros_in_a_tar_are_not_taken_for_its_end(tmp_path, kept):
    data = tarred(tmp_path / "a.tar", ["a.png", "b.png"])
    start = data.index(b"b.png")
    (tmp_path / "a.tar").write_bytes(data[:start] + bytes(512) + data[start + 512 :])
    (failure,) = bring_in([tmp_path / "a.tar"], kept).failures
    assert failure.reason.startswith("the archive cannot be read to its end: ")
    assert below(kept / "a.tar") == [".brought.json", "a.png"]


def test_a_tar_that_is_cut_between_photos_is_told(tmp_path, kept):
    data = tarred(tmp_path / "a.tar", ["a.png", "b.png"])
    (tmp_path / "a.tar").write_bytes(data[: data.index(b"b.png")])
    (failure,) = bring_in([tmp_path / "a.tar"], kept).failures
    assert failure.reason == (
        "the archive cannot be read to its end: it ends without the zeros that mark its end, so it "
        "may be cut off"
    )
    assert below(kept / "a.tar") == [".brought.json", "a.png"]
    whole = data[: data.index(b"b.png", 600) + 1024 + 512 + 100]  # of the zeros, a part is enough
    (tmp_path / "a.tar").write_bytes(whole)
    assert bring_in([tmp_path / "a.tar"], kept).failures == []


def test_damaged_compression_does_not_end_the_photos_before_it(tmp_path, kept):
    data = [tarred(tmp_path / "part", [name], "gz") for name in ("a.png", "b.png")]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(data[0] + b"x" + data[1])
    (failure,) = bring_in([path], kept).failures
    assert failure.reason.startswith("the archive cannot be read to its end: Not a gzipped file")
    assert below(kept / path.name) == [".brought.json", "a.png"]
    path.write_bytes(data[0][:-8] + bytes(4) + data[0][-4:] + data[1])  # a wrong checksum
    (failure,) = bring_in([path], kept, afresh=True).failures
    assert "CRC check failed" in failure.reason
    assert below(kept / path.name) == [".brought.json", "a.png"]


class Bytes:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


def test_standard_input(kept, monkeypatch):
    monkeypatch.setattr("sys.stdin", Bytes(png()))
    found = bring_in(["-"], kept)
    (path,) = kept.iterdir()
    assert found.arguments == [str(path)]
    assert path.read_bytes() == png()
    assert found.origin_of(path) == "standard input"
    monkeypatch.setattr("sys.stdin", Bytes(b""))
    assert bring_in(["-"], kept).failures[0].reason == "nothing came from standard input"
    monkeypatch.setattr("sys.stdin", None)  # closed
    assert bring_in(["-"], kept).failures[0].reason == "nothing came from standard input"
    monkeypatch.setattr(brought, "MAX_BYTES", 3)
    monkeypatch.setattr("sys.stdin", Bytes(b"1234"))
    assert "more than 0 MB" in bring_in(["-"], kept).failures[0].reason


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    (served / "a cat.png").write_bytes(png())
    (served / "none.png").touch()
    zipped(served / "a.zip", {"dog.png": png()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_addresses(kept, address, tmp_path):
    photo, archive = f"{address}/a%20cat.png", f"{address}/a.zip"
    found = bring_in([photo, f"{photo}?v=2", archive], kept)
    host = address.removeprefix("http://").replace(":", "_")
    first, second, third = found.arguments
    assert first == str(kept / host / "a cat.png")
    assert second != first
    assert third == str(kept / "a.zip")
    assert found.origin_of(kept / "a.zip" / "dog.png") == f"{archive}/dog.png"
    # What is there is not fetched again.
    (tmp_path / "served" / "a cat.png").unlink()
    assert bring_in([photo], kept).failures == []
    assert len(bring_in([photo], kept, afresh=True).failures) == 1


def test_addresses_that_give_nothing(kept, address):
    wrong = [f"{address}/nothing.png", f"{address}/none.png", "http://127.0.0.1:9/x.png"]
    found = bring_in(wrong, kept)
    assert found.arguments == []
    reasons = [failure.reason for failure in found.failures]
    assert reasons[0].startswith("it cannot be fetched")
    assert reasons[1] == "the address gives an empty file"
    assert reasons[2].startswith("it cannot be fetched: Connect call failed")
    assert not any(path.is_file() for path in kept.rglob("*"))

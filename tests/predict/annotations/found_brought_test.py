"""Photos out of archives, videos and addresses, in every form of annotations."""

import csv
import io
import json
import tarfile
import threading
import urllib.parse
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from PIL import Image

from fcam_tf.predict import localize_files, read_results

FORMS = ("coco", "yolo", "voc", "labelstudio", "cvat")
NAMES = [
    *("a.png", "dir/a.png", "../up.png", "/root/abs.png", "with space.png", "Katze_ä猫.png"),
    *("new\nline.png", "carriage\rreturn.png", "tab\t.png", 'quote"<&>.png', "images/a.png"),
    *("C:\\win\\a.png", "a.png/inner.png", "per%20cent#?.png", "bell\x07.png"),
]


def png(number):
    y, x = np.mgrid[:24, :32]
    light = 255 * np.clip(1.5 - np.hypot(x - 6 - number % 20, y - 12) / 6, 0, 1)
    file = io.BytesIO()
    Image.fromarray(np.stack([light, 0 * light, 0 * light], -1).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "one ä.png").write_bytes(png(3))
    with zipfile.ZipFile(folder / "far.zip", "w") as archive:
        archive.writestr("a.png", png(4))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def given(tmp_path, address):
    """Two archives with photos of the same names, a video, and two addresses."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number, name in enumerate(NAMES):
            archive.writestr(zipfile.ZipInfo(name), png(number))
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for number, name in enumerate([*NAMES, "bytes\udce9.png"]):
            member = tarfile.TarInfo(name)
            member.size = len(png(number))
            archive.addfile(member, io.BytesIO(png(number)))
    video = tmp_path / "clip ä.mp4"
    write_video(video)
    quoted = urllib.parse.quote("one ä.png")
    places = [tmp_path / "all.zip", tmp_path / "all.tar", video]
    return [*map(str, places), f"{address}/{quoted}", f"{address}/far.zip"]


def write_video(path):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(3):
            with Image.open(io.BytesIO(png(number))) as image:
                container.mux(stream.encode(av.VideoFrame.from_image(image.convert("RGB"))))
        container.mux(stream.encode())


def test_what_is_brought_is_in_every_form(tmp_path, given, fake_localizer):
    out = tmp_path / "out ä\nx"
    job = localize_files(
        fake_localizer(), given, out, annotations=FORMS, table=["csv"], mask=["png"], objects=None
    )
    assert job.failures == []
    results = list(read_results(out))
    count = 2 * len(NAMES) + 1 + 3 + 2
    assert len(results) == count
    files = {record["file"] for record in results}
    assert len(files) == count
    assert all(Path(file).is_relative_to(out.absolute() / "inputs") for file in files)
    assert len({record["name"] for record in results}) == count
    assert all(out in path.parents for path in tmp_path.rglob("up.png"))
    place, boxes = out / "annotations", sum(len(record["objects"]) for record in results)

    coco = json.loads((place / "coco.json").read_text("ascii"))
    root = coco["info"]["root"]
    assert {str(Path(root, image["file_name"])) for image in coco["images"]} == files
    assert len(coco["annotations"]) == boxes

    labels = list((place / "yolo" / "labels").rglob("*.txt"))
    images = [path for path in (place / "yolo" / "images").rglob("*") if path.is_symlink()]
    assert len(labels) == len(images) == count
    assert {str(path.readlink()) for path in images} == files
    stems = {path.relative_to(place / "yolo" / "images").with_suffix("") for path in images}
    assert stems == {p.relative_to(place / "yolo" / "labels").with_suffix("") for p in labels}
    about = yaml.safe_load((place / "yolo" / "data.yaml").read_text("utf-8"))
    assert about["path"] == str((place / "yolo").resolve())

    written = [path.read_bytes() for path in (place / "voc").rglob("*.xml")]
    trees = [ET.fromstring(each) for each in written]  # noqa: S314 - our own
    assert len(trees) == count
    assert sum(len(tree.findall("object")) for tree in trees) == boxes
    escaped = {"bell\x07": r"bell\x07", "bytes\udce9": r"bytes\udce9"}
    told = {file for file in files if not any(odd in file for odd in escaped)}
    assert told < {tree.findtext("path") for tree in trees}

    tasks = json.loads((place / "labelstudio" / "tasks.json").read_text("utf-8"))
    parent = Path(root).parent
    found = [task["data"]["image"].partition("?d=")[2] for task in tasks]
    assert {str(parent / urllib.parse.unquote(p, errors="surrogateescape")) for p in found} == files

    whole = ET.parse(place / "cvat.xml").getroot()  # noqa: S314 - our own
    shown = whole.findall("image")
    assert len({image.get("name") for image in shown}) == count
    assert sum(len(image.findall("box")) for image in shown) == boxes

    with (out / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == boxes
    assert told < {row["file"] for row in rows}
    # Again, nothing is done anew or fetched.
    again = localize_files(
        fake_localizer(), given, out, annotations=FORMS, mask=["png"], objects=None
    )
    assert (again.localized, again.skipped) == (0, count)

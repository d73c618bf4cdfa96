import base64
import html.parser
import io
import json
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

from fcam_tf.predict import localize_files, write_gallery
from fcam_tf.predict.gallery_photo import MAP_SIDE, packed

FIRE, SEA = (200, 40, 0), (0, 40, 200)
HARMFUL = "</script><script>alert(1)</script>\"'\n<b>犬🐕"


class Page(html.parser.HTMLParser):
    """The data of a page, and what it contains besides."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self._json = [], "", False
        self.feed(text)
        self.data = json.loads(self.data)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._json = dict(attributes).get("type") == "application/json"

    def handle_data(self, data):
        self.data += data * self._json


def paint(path, colour=FIRE, spot=(12, 6, 26, 17)):
    """A black photo of 40 x 30 pixels with one bright box, inclusive."""
    image = Image.new("RGB", (40, 30))
    image.paste(colour, (spot[0], spot[1], spot[2] + 1, spot[3] + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def read(out):
    return Page((out / "report.html").read_text("utf-8"))


def files_of(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "report").iterdir()}


@pytest.fixture
def photos(tmp_path):
    paint(tmp_path / "photos" / "a.png")
    paint(tmp_path / "photos" / "in" / "b.png", SEA)
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_the_page_and_its_files(photos, out, fake_localizer):
    localize_files(fake_localizer(), photos, out)
    assert write_gallery(out) == out / "report.html"
    page = read(out)
    a, b = page.data["photos"]
    assert page.data["root"] == f"{photos}/"
    assert (a["name"], b["name"]) == ("a.png", "in/b.png")
    assert (a["width"], a["height"]) == (40, 30)
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    (found,) = b["classes"]
    assert (found["caption"], found["name"]) == ("sea", "sea, ocean")
    assert found["link"] == "in/b_overlay.png"
    (object_,) = found["objects"]
    assert object_ == {"number": 1, "box": records[1]["box"], "area": records[1]["area"]}
    with Image.open(out / b["thumb"]) as thumb:
        assert thumb.size == (40, 30)
        assert thumb.getpixel((20, 12))[2] > 150
    script = (out / b["script"]).read_text()
    (stored,) = json.loads(f"[{script.partition(', ')[2].removesuffix(');' + chr(10))}]")[0]
    assert script.startswith(f'fcamMaps("{b["id"]}", [')
    assert (stored["w"], stored["h"]) == (40, 30)
    assert len(zlib.decompress(base64.b64decode(stored["data"]))) == 40 * 30
    assert page.tags.count("script") == 2


def test_one_file(photos, out, fake_localizer):
    localize_files(fake_localizer(), photos, out)
    write_gallery(out)
    write_gallery(out, single=True)
    assert not (out / "report").exists()
    for photo in read(out).data["photos"]:
        kind, _, content = photo["thumb"].partition(";base64,")
        assert kind == "data:image/webp"
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == (40, 30)
        assert photo["maps"][0]["w"] == 40
        assert not photo["classes"][0]["link"]


def test_more_photos_later(photos, out, fake_localizer):
    localize_files(fake_localizer(), photos, out)
    write_gallery(out)
    before, key = files_of(out), read(out).data["key"]
    assert len(before) == 4
    paint(photos / "c.png")
    paint(photos / "a.png", SEA, (1, 1, 9, 9))  # another photo under its name
    localize_files(fake_localizer(), photos, out)
    write_gallery(out)
    after = files_of(out)
    assert len(after) == 6
    assert len(before.items() & after.items()) == 2, "what is there is made again"
    data = read(out).data
    assert [photo["name"] for photo in data["photos"]] == ["in/b.png", "a.png", "c.png"]
    assert data["key"] == key


def test_verdicts_belong_to_the_settings(photos, tmp_path, fake_localizer):
    keys = []
    for objects in (1, 1, 2):
        out = tmp_path / f"out{len(keys)}"
        localize_files(fake_localizer(), photos, out, objects=objects)
        write_gallery(out)
        keys.append(read(out).data["key"])
    assert keys[0] == keys[1] != keys[2]


def test_it_is_no_photo_itself(photos, out, fake_localizer):
    localize_files(fake_localizer(), photos, out)
    write_gallery(out)
    job = localize_files(fake_localizer(), [photos, out], out)
    assert (job.localized, job.skipped) == (0, 2)


def test_what_is_gone(photos, out, fake_localizer):
    localize_files(fake_localizer(), photos, out)
    (photos / "a.png").unlink()
    (out / "in" / "b_heatmap.png").write_bytes(b"no map")
    write_gallery(out)
    a, b = read(out).data["photos"]
    assert a["thumb"] is None
    assert b["thumb"]
    assert "[null]" in (out / b["script"]).read_text()
    shutil.rmtree(photos)
    write_gallery(out)
    assert read(out).data["photos"][1]["thumb"] == b["thumb"], "a picture that is there is kept"


def test_no_results(tmp_path):
    with pytest.raises(ValueError, match="holds no results"):
        write_gallery(tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_are_safe(tmp_path, out, fake_localizer):
    name = HARMFUL.replace("/", "|")
    paint(tmp_path / "photos" / f"{name}.png")
    paint(tmp_path / "photos" / "b.png")
    localizer = fake_localizer(class_names=("sea", HARMFUL))
    localize_files(localizer, tmp_path / "photos", out, overlay="none")
    out = out.rename(tmp_path / name)
    write_gallery(out)
    page = read(out)
    assert page.tags.count("script") == 2
    assert "b" not in page.tags
    names = {photo["name"] for photo in page.data["photos"]}
    assert names == {f"{name}.png", "b.png"}
    assert page.data["photos"][0]["classes"][0]["name"] == HARMFUL


def test_a_name_that_is_not_utf8(tmp_path, out, fake_localizer):
    paint(tmp_path / "photos" / "caf\udce9.png")
    localize_files(fake_localizer(), tmp_path / "photos", out)
    write_gallery(out)
    assert read(out).data["photos"][0]["name"] == "caf\udce9.png"


def test_a_full_disk_leaves_the_page(photos, out, fake_localizer, monkeypatch):
    localize_files(fake_localizer(), photos, out)
    write_gallery(out)
    before, files = (out / "report.html").read_bytes(), files_of(out)
    paint(photos / "c.png")
    localize_files(fake_localizer(), photos, out)

    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("fcam_tf.predict.gallery_photo.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        write_gallery(out)
    assert (out / "report.html").read_bytes() == before
    assert files_of(out) == files


def test_a_packed_map():
    heatmap = np.zeros((150, 2 * MAP_SIDE), np.float32)
    heatmap[50:52, 100:102] = 0.8
    heatmap[0, 0] = 1
    stored = packed(heatmap, 0.5)
    assert (stored["w"], stored["h"]) == (MAP_SIDE, 75)
    assert (stored["peak"], stored["cut"]) == (255, 128)
    levels = np.frombuffer(zlib.decompress(base64.b64decode(stored["data"])), np.uint8)
    levels = levels.reshape(75, MAP_SIDE)
    assert levels.argmax() == 25 * MAP_SIDE + 50
    assert levels[0, 0] < 128, "what is smaller than a cell is averaged"
    assert packed(None, 0.5) is None

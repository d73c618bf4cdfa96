import base64
import copy
import dataclasses
import html.parser
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from fcam_tf.evaluation import Center, Evaluation, EvaluationSettings
from fcam_tf.report import check_comparable, write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: open elements, pictures, text, addresses."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.addresses, self.text = [], [], [], ""
        self.ids, self.targets = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            assert "alt" in attributes
            self.images.append(attributes["src"])
        if "id" in attributes:
            self.ids.add(attributes["id"])
        for name in ("href", "src"):
            self.addresses.append(attributes.get(name, ""))
        if attributes.get("href", "").startswith("#"):
            self.targets.add(attributes["href"][1:])

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(perfect, finished):
    return write_report(perfect, finished)


def test_the_page_is_whole_and_needs_no_network(page):
    parsed = Page(page.read_text("utf-8"))
    assert parsed.open == []
    assert parsed.targets <= parsed.ids
    assert not [a for a in parsed.addresses if a and not a.startswith(("#", "data:"))]
    assert len(parsed.images) > 20
    for source in parsed.images:
        kind, _, content = source.partition(";base64,")
        picture = base64.b64decode(content, validate=True)
        if "svg" not in kind:
            Image.open(io.BytesIO(picture)).load()


def test_it_says_the_figures(page, perfect, finished):
    text = re.sub(r"\s+", " ", Page(page.read_text("utf-8")).text)
    for run in (perfect, finished):
        for name in ("MaxBoxAccV2", "PxAP"):
            assert f"{run.metrics[name]:.2f}" in text
    assert "truth against center" in text
    assert perfect.metrics["PxAP"] > 99.9
    change = perfect.metrics["PxAP"] - finished.metrics["PxAP"]
    assert f"{change:+.1f}" in text


def test_several_runs(perfect, finished):
    text = Page(write_report(finished, perfect, finished).read_text("utf-8")).text
    assert "center against truth, center" in text
    assert text.count("\nimages with higher IoU") == 1


def test_one_run_alone(finished):
    run = copy.copy(finished)
    options = {"scales": [1.0, 1.5], "flip": True}
    run.metrics = {**run.metrics, "settings": {**run.metrics["settings"], "options": options}}
    parsed = Page(write_report(run).read_text("utf-8"))
    assert "optionsscales 1,1.5, flip" in parsed.text.replace("\n", "")
    assert "against" not in parsed.text[:200]
    assert "Gains and losses" not in parsed.text


def test_masks_alone(shapes, tmp_path):
    data = shutil.copytree(shapes, tmp_path / "data")
    (data / "metadata" / "test" / "localization.txt").unlink()
    settings = EvaluationSettings(method="center", data=str(data), split="test")
    run = Evaluation(Center(), settings, tmp_path / "out").run()
    text = Page(write_report(run).read_text("utf-8")).text
    assert "true positive" in text
    assert "mask IoU" in text
    assert "best threshold for the mean IoU" in text
    for absent in ("predicted box", "box IoU", "largest contour", "Maps of the"):
        assert absent not in text


def test_boxes_alone(shapes, tmp_path):
    data = shutil.copytree(shapes, tmp_path / "data")
    (data / "metadata" / "test" / "localization_masks.txt").unlink()
    settings = EvaluationSettings(method="center", data=str(data), split="test")
    run = Evaluation(Center(), settings, tmp_path / "out").run()
    assert run.metrics["PxAP"] is None
    text = Page(write_report(run).read_text("utf-8")).text
    assert "above the threshold" in text
    for absent in ("true positive", "mask IoU", "recall"):
        assert absent not in text


def test_names_are_escaped(finished):
    settings = dataclasses.replace(finished.settings, method="<script>alert(1)</script>")
    run = finished.__class__(finished.out)
    run.settings = settings
    text = write_report(run).read_text("utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_other_images_cannot_be_compared(finished, perfect):
    split = perfect.split
    check_comparable(split, finished)
    with pytest.raises(ValueError, match="it has 12 images, this split 5"):
        check_comparable(split.subset(range(5)), finished)
    with pytest.raises(ValueError, match="where this split has"):
        check_comparable(split.subset([1, 0, *range(2, 12)]), finished)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_it(page, tmp_path, width):
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={tmp_path}", f"--window-size={width},3000"),
            *(f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    shown = np.asarray(Image.open(picture).convert("L")).astype(int)
    rows = shown.std(axis=1) > 1
    assert rows[:2500].mean() > 0.3
    margin = shown[:, -8:]  # nothing may run out of the page at the right
    assert (margin > 200).mean() > 0.97

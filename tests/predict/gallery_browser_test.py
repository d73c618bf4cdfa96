"""The page of localised photos in a browser, by clicks and keys."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from fcam_tf.localization import Localization, scale_box
from fcam_tf.predict import localize_files, write_gallery
from fcam_tf.predict.gallery_photo import packed

playwright = pytest.importorskip("playwright.sync_api")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
HARMFUL = "<img src=x onerror=alert(1)>\"'\n犬🐕"
SIZE = (240, 180)
# Name, centre, radius and colour of the blobs; "two" has a larger and a smaller one.
BLOBS = {
    "large": [((120, 90), 60, (255, 60, 0))],
    "small": [((60, 120), 20, (0, 60, 255))],
    "two": [((60, 60), 40, (255, 60, 0)), ((190, 130), 25, (230, 60, 0))],
}


def paint(path, blobs):
    """Soft blobs on black: their brightness falls off linearly."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    pixels = np.zeros((*SIZE[::-1], 3))
    for centre, radius, colour in blobs:
        near = np.clip(1.5 - np.hypot(x - centre[0], y - centre[1]) / radius, 0, 1)
        pixels = np.maximum(pixels, near[..., None] * colour)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        options = ["--no-sandbox", "--disable-gpu"]
        yield running.chromium.launch(executable_path=CHROMIUM, args=options)


@pytest.fixture(params=[False, True], ids=["files", "single"])
def folder(request, tmp_path, fake_localizer):
    (tmp_path / "photos").mkdir()
    for name, blobs in BLOBS.items():
        paint(tmp_path / "photos" / f"{name}.png", blobs)
    localizer = fake_localizer(image_size=(96, 128), class_names=("sea, ocean", "fire"))
    localize_files(localizer, tmp_path / "photos", tmp_path / "out", objects=None)
    write_gallery(tmp_path / "out", single=request.param)
    return tmp_path / "out"


@pytest.fixture
def context(browser):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(30_000)
        yield context


def opened(context, folder):
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto((folder / "report.html").as_uri())
    return page


@pytest.fixture
def page(context, folder):
    return opened(context, folder)


def names(page):
    return page.locator("#cards > li .name").all_inner_texts()


def card(page, name):
    return page.locator(f"#cards > li[aria-label='{name}.png']")


def slide(slider, value):
    slider.evaluate(
        "(slider, value) => { slider.value = value;"
        "for (const kind of ['input', 'change'])"
        "  slider.dispatchEvent(new Event(kind, { bubbles: true })); }",
        str(value),
    )


def saved(page, kind):
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save accepted as {kind}").click()
    return download.value.path()


def records(folder):
    lines = (folder / "results.jsonl").read_text("utf-8").splitlines()
    return {record["name"]: record for record in map(json.loads, lines)}


def test_filters_and_order(page):
    assert names(page) == ["large.png", "small.png", "two.png"]
    assert "3 of 3 photos" in page.locator("#counts").inner_text()
    page.get_by_label("Order").select_option("object, smallest first")
    assert names(page) == ["small.png", "two.png", "large.png"]
    page.locator("#class").select_option("fire (2)")
    assert names(page) == ["two.png", "large.png"]
    page.get_by_label("size of the object from").fill("20")
    assert names(page) == ["large.png"]
    page.get_by_label("size of the object from").fill("")
    page.locator("#class").select_option("all")
    page.get_by_label("Name or class").fill("ocean")
    assert names(page) == ["small.png"]
    page.get_by_label("Name or class").fill("nothing of this name")
    assert names(page) == []
    page.get_by_label("Name or class").fill("")
    page.get_by_label("score to, in percent").fill("0")
    assert names(page) == []


def test_verdicts_stay(context, page, folder):
    card(page, "two").get_by_role("button", name="Accept 2").click()
    card(page, "large").get_by_role("button", name="Reject").click()
    page.get_by_label("Verdict").select_option("accepted")
    assert names(page) == ["two.png"]
    again = opened(context, folder)
    assert "1 accepted · 1 rejected" in again.locator("#counts").inner_text()
    assert card(again, "large").get_attribute("class") == "rejected"
    pressed = again.get_by_role("button", pressed=True)
    assert pressed.all_inner_texts() == ["Reject", "Accept"]
    card(again, "large").get_by_role("button", name="Reject").click()  # takes it back
    assert "1 accepted · 0 rejected" in again.locator("#counts").inner_text()
    again.get_by_role("button", name="Undo").click()
    assert "1 accepted · 1 rejected" in again.locator("#counts").inner_text()


def test_undo_takes_back_nothing_of_another_tab(context, page, folder):
    card(page, "large").get_by_role("button", name="Accept").click()
    other = opened(context, folder)
    card(other, "small").get_by_role("button", name="Reject").click()
    page.get_by_text("1 accepted · 1 rejected").wait_for()
    page.keyboard.press("u")
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert "1 accepted · 1 rejected" in page.locator("#counts").inner_text()


def test_what_the_browser_does_not_keep_is_told(context, folder):
    context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    page = context.new_page()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto((folder / "report.html").as_uri())
    page.reload()
    assert not asked  # nothing is decided
    card(page, "large").get_by_role("button", name="Accept").click()
    assert "keeps nothing" in page.locator("#message").inner_text()
    page.get_by_role("button", name="Accept undecided").click()
    assert "3 accepted; undo takes it back. This" in page.locator("#message").inner_text()
    page.reload()
    assert asked == ["beforeunload"]


def test_only_objects_that_pass_are_accepted_at_once(page):
    page.get_by_label("size of the object to").fill("8")
    assert names(page) == ["small.png", "two.png"]
    page.get_by_role("button", name="Accept undecided").click()
    assert "2 accepted" in page.locator("#counts").inner_text()
    assert card(page, "two").get_by_role("button", pressed=True).count() == 1  # the smaller one


def test_keys(page):
    card(page, "large").focus()
    page.keyboard.press("a")
    page.keyboard.press("r")
    assert "1 accepted · 1 rejected" in page.locator("#counts").inner_text()
    assert page.evaluate("document.activeElement.photo.name") == "two.png"
    page.keyboard.press("a")  # both objects
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.photo.name") == "small.png"
    shown = card(page, "small").locator("output")
    own = float(shown.inner_text())
    page.keyboard.press("-")
    playwright.expect(shown).to_have_text(f"{own - 0.02:.2f}")  # when it is drawn
    page.keyboard.press("0")
    playwright.expect(shown).to_have_text(f"{own:.2f}")
    page.keyboard.press("/")
    page.keyboard.type("ru")  # no keys of the page
    assert names(page) == []
    assert "3 accepted · 1 rejected" in page.locator("#counts").inner_text()


def focused(page):
    return page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.id")


def test_by_the_keyboard_alone(page):
    page.keyboard.press("/")
    for _ in range(12):
        page.keyboard.press("Tab")
        if focused(page) == "accept-rest":
            break
    page.keyboard.press("Enter")
    assert "4 accepted" in page.locator("#counts").inner_text()
    page.keyboard.press("Tab")
    assert focused(page) == "undo"
    page.keyboard.press("Space")
    assert "0 accepted" in page.locator("#counts").inner_text()
    assert focused(page) == "undo"  # although nothing is left to take back
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert focused(page) == "save-coco"
    page.keyboard.press("Enter")
    assert page.locator("#message").inner_text() == ""  # nothing is accepted, so nothing is saved
    card(page, "large").focus()
    page.keyboard.press("Tab")
    if not focused(page).startswith(
        "Accept"
    ):  # but the link to its overlay, beside a page of files
        page.keyboard.press("Tab")
    assert focused(page) == "Accept fire in large.png"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page) == "Reject fire in large.png"
    page.keyboard.press("Tab")
    assert focused(page) == "Threshold of large.png"
    page.keyboard.press("ArrowRight")
    reset = page.get_by_role("button", name="Reset the threshold of large.png")
    playwright.expect(reset).to_be_enabled()
    page.keyboard.press("Tab")
    assert focused(page) == "Reset the threshold of large.png"
    page.keyboard.press("Enter")
    playwright.expect(reset).to_be_disabled()
    assert focused(page) == "Threshold of large.png"
    assert "1 accepted" in page.locator("#counts").inner_text()


def test_a_button_that_goes_passes_the_focus_on(page):
    page.locator("#threshold").press("ArrowRight")
    page.get_by_role("button", name="As localised").focus()
    page.keyboard.press("u")
    assert focused(page) == "threshold"
    card(page, "large").focus()
    page.keyboard.press("+")
    reset = page.get_by_role("button", name="Reset the threshold of large.png")
    playwright.expect(reset).to_be_enabled()
    reset.focus()
    page.keyboard.press("0")
    playwright.expect(reset).to_be_disabled()
    assert focused(page) == "Threshold of large.png"


def test_a_verdict_moves_no_button(page):
    page.set_viewport_size({"width": 1280, "height": 900})
    reject = card(page, "large").get_by_role("button", name="Reject")
    before = reject.bounding_box()
    card(page, "large").get_by_role("button", name="Accept").click()
    playwright.expect(card(page, "large")).to_have_class("accepted")
    assert reject.bounding_box() == before


def test_what_has_the_focus_is_seen(page):
    page.set_viewport_size({"width": 420, "height": 500})  # one card in a row
    page.get_by_role("slider", name="Threshold of two.png").focus()
    seen = """() => {
      const { x, y, width, height } = document.activeElement.getBoundingClientRect();
      const at = document.elementFromPoint(x + width / 2, y + height / 2);
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return document.activeElement.contains(at) && outlineStyle === "solid";
    }"""
    for _ in range(12):  # backwards: the page scrolls down, under the bar
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(seen), focused(page)


def test_sliders_tell_who_hears_them_what_they_are(page):
    slider = page.locator("#threshold")
    assert slider.get_attribute("aria-valuetext") == "as localised"
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.31"
    names = page.get_by_role("slider").evaluate_all(
        "sliders => sliders.map((each) => each.ariaLabel ?? each.labels[0].textContent)"
    )
    assert len(set(names)) == 4


def test_what_is_saved_as_localised(page, folder):
    page.get_by_role("button", name="Accept undecided").click()
    result = json.loads(saved(page, "COCO").read_text("utf-8"))
    found = records(folder)
    assert result["info"]["folder"] == f"{folder.parent / 'photos'}/"
    assert [each["file_name"] for each in result["images"]] == ["large.png", "small.png", "two.png"]
    assert result["categories"] == [{"id": 1, "name": "sea, ocean"}, {"id": 2, "name": "fire"}]
    objects = [each for name in BLOBS for each in found[name]["objects"]]
    assert len(objects) == 4
    for annotation, each in zip(result["annotations"], objects, strict=True):
        x, y, width, height = annotation["bbox"]
        assert [x, y, x + width - 1, y + height - 1] == each["box"]
        assert annotation["category_id"] == each["label"] + 1  # as in coco.json
        area = each["area"] * SIZE[0] * SIZE[1]
        assert annotation["area"] == pytest.approx(area, rel=0.05)
        mask = coco.merge(coco.frPyObjects(annotation["segmentation"], SIZE[1], SIZE[0]))
        assert coco.area(mask) == pytest.approx(area, rel=0.05)
        outer = coco.toBbox(mask)
        assert np.abs(outer - annotation["bbox"]).max() <= 240 / 96
    with saved(page, "CSV").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["object"] for row in rows] == ["1", "1", "1", "2"]
    assert rows[1]["label_name"] == "sea, ocean"
    assert [int(rows[3][side]) for side in ("x0", "y0", "x1", "y1")] == objects[3]["box"]


@pytest.mark.parametrize("folder", [False], indirect=True)
def test_an_object_without_a_map_is_saved_with_its_box(context, folder):
    for path in folder.glob("*_heatmap.png"):
        path.unlink()
    page = opened(context, write_gallery(folder).parent)
    page.get_by_role("button", name="Accept undecided").click()
    rows = json.loads(saved(page, "COCO").read_text("utf-8"))["annotations"]
    assert len(rows) == 4
    for row in rows:
        mask = coco.merge(coco.frPyObjects(row["segmentation"], SIZE[1], SIZE[0]))
        assert coco.toBbox(mask).tolist() == row["bbox"]
        assert row["area"] == row["bbox"][2] * row["bbox"][3]


def test_objects_that_are_one_at_a_lower_threshold_are_saved_once(
    context, tmp_path, fake_localizer
):
    (tmp_path / "photos").mkdir()
    paint(tmp_path / "photos/near.png", [((x, 90), 30, (255, 60, 0)) for x in (80, 160)])
    localizer = fake_localizer(image_size=(96, 128), class_names=("sea, ocean", "fire"))
    localize_files(localizer, tmp_path / "photos", tmp_path / "out", objects=None)
    page = opened(context, write_gallery(tmp_path / "out").parent)
    page.get_by_role("button", name="Accept undecided").click()
    assert len(json.loads(saved(page, "COCO").read_text("utf-8"))["annotations"]) == 2
    slide(page.locator("#threshold"), 0.05)
    (row,) = json.loads(saved(page, "COCO").read_text("utf-8"))["annotations"]
    assert row["bbox"][2] > 160  # from one blob to the other
    text = page.locator("#message").inner_text()
    assert (
        text == "1 saved as accepted.json; 1 left out, one with another object at this threshold."
    )


def test_another_threshold(page, folder):
    before = records(folder)
    page.get_by_role("button", name="Accept undecided").click()
    slide(page.locator("#threshold"), 0.8)
    slide(card(page, "small").locator(".threshold"), 0.1)
    rows = json.loads(saved(page, "COCO").read_text("utf-8"))["annotations"]
    assert [row["threshold"] for row in rows] == [0.8, 0.1, 0.8, 0.8]
    objects = [each for name in BLOBS for each in before[name]["objects"]]
    for row, each in zip(rows, objects, strict=True):
        x0, y0, x1, y1 = each["box"]
        x, y, width, height = row["bbox"]
        smaller = x0 <= x and y0 <= y and x + width <= x1 + 1 and y + height <= y1 + 1
        assert smaller == (row["threshold"] == 0.8)
    card(page, "small").get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="As localised").click()
    rows = json.loads(saved(page, "COCO").read_text("utf-8"))["annotations"]
    assert [row["bbox"][:2] for row in rows] == [each["box"][:2] for each in objects]


@pytest.mark.parametrize("folder", [True], indirect=True)
@pytest.mark.parametrize("threshold", ["otsu", 0.0, 0.2, 0.55, 1.0])
def test_the_rules_are_those_of_the_package(page, threshold):
    rng = np.random.default_rng(0)
    noise = rng.random((6, 70, 90)).astype(np.float32) ** 3
    maps = np.concatenate([noise, np.zeros((1, 70, 90), np.float32)])
    found = Localization.from_heatmaps(maps, np.ones((7, 1)), threshold=threshold)
    script = """async ([stored, threshold, photo]) => {
      const map = await unpackMap(stored);
      const regions = regionsAbove(map, cutOf(map, threshold));
      const region = largestRegion(regions);
      return region ? [boxOf(region, map, 400, 300), region.size, regions.length] : null;
    }"""
    for index in range(7):
        each = found[index]
        asked = None if threshold == "otsu" else threshold
        answer = page.evaluate(script, [packed(maps[index], float(each.thresholds)), asked, None])
        regions = each.regions(min_area=0)
        if not regions:
            assert answer is None
            continue
        box = list(scale_box(regions[0].box, (90, 70), (400, 300)))
        assert answer == [box, regions[0].mask.sum(), len(regions)]


@pytest.mark.parametrize("folder", [False], indirect=True)
def test_outlines_enclose_what_they_should(page):
    levels = [0] * 9 + [9, 9, 9] + [9, 0, 9] + [9, 9, 9]  # a ring that reaches three edges
    script = """(levels) => {
      const map = { w: 3, h: 6, peak: 9, cut: 4, highest: 9, levels };
      const rings = outlinesOf(largestRegion(regionsAbove(map, 4)), map);
      const x = rings[0].map((point) => point[0]), y = rings[0].map((point) => point[1]);
      return [rings.map((ring) => ringArea(ring) > 0), Math.min(...x), Math.max(...x),
        Math.min(...y), Math.max(...y)];
    }"""
    assert page.evaluate(script, levels) == [[True, False], 0, 3, 3, 6]


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("width", [1280, 420])
def test_any_name_and_width(context, tmp_path, fake_localizer, single, width):
    photos = tmp_path / "photos"
    photos.mkdir()
    paint(photos / f"{HARMFUL}.png", BLOBS["large"])
    paint(photos / f"{'long' * 30}.png", BLOBS["two"])
    localizer = fake_localizer(class_names=("sea", HARMFUL))
    localize_files(localizer, photos, tmp_path / "out", overlay="none", objects=None)
    write_gallery(tmp_path / "out", single=single)
    page = opened(context, tmp_path / "out")
    page.set_viewport_size({"width": width, "height": 900})
    shown = page.locator("#cards .name").first.evaluate("name => name.textContent")
    assert shown == f"{HARMFUL}.png"
    assert page.locator("img[src=x]").count() == 0
    page.wait_for_function("document.images[0].complete && document.images[0].naturalWidth")
    page.wait_for_function("document.querySelector('canvas').width !== 300")  # is drawn
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Accept undecided").click()
    result = json.loads(saved(page, "COCO").read_text("utf-8"))
    assert result["categories"][0]["name"] == HARMFUL
    with saved(page, "CSV").open(newline="", encoding="utf-8") as file:
        assert {row["label_name"] for row in csv.DictReader(file)} == {HARMFUL}

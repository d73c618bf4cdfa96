import shutil

import pytest

from tests.serving.conftest import photo
from tests.serving.running_test import serving

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def told(page):
    """Return a list that what the page tells its console will be in."""
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems


@pytest.mark.slow
def test_a_photo_on_the_page(browser, exported, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo(400, 300, "PNG"))
    (tmp_path / "text.txt").write_text("text")
    with serving(exported) as (_, url):
        for width in (1280, 420):
            page = browser.new_page(viewport={"width": width, "height": 900})
            problems = told(page)
            page.goto(url)
            page.set_input_files("#file", tmp_path / "photo.png")
            page.wait_for_selector("#result", state="visible")
            # Text, not markup: one of the names of classes has tags in it.
            assert page.inner_text("#label") in ("cat (0)", "<b>dog</b> (1)", "bird (2)")
            assert page.inner_text("#size") == "400 x 300"
            assert page.inner_text("#box").startswith("x ")
            assert page.evaluate("document.getElementById('overlay').naturalWidth") == 640
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert problems == []
            page.set_input_files("#file", tmp_path / "text.txt")
            page.wait_for_selector("#said.error")
            assert "not a photo" in page.inner_text("#said")
            assert not page.is_visible("#result")
            page.close()

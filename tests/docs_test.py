"""The site: its pages are there, and what they say of the code can be run."""

import doctest
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
CONFIG = DOCS.with_name("mkdocs.yml").read_text("utf-8")
OUTSIDE = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}  # see tools/site_pages.py
NAV = re.findall(r"([\w/]+\.md)$", CONFIG, re.MULTILINE)
PAGES = sorted(path.stem for path in DOCS.glob("reference/*.md") if path.stem != "index")
TUTORIALS = sorted(path.stem for path in DOCS.glob("tutorials/*.md") if path.stem != "index")
# Pages of what is called by commands, and shown by tutorials.
NO_EXAMPLES = {"compat", "evaluation", "paper", "report"}
LONG = {
    *("fcam_tf.zoo.load", "fcam_tf.export.export", "fcam_tf.portable.export_file"),
    *("fcam_tf.training.fit_classifier", "fcam_tf.training.fit_fcam"),
}

# What a tutorial's time goes to, and what the tests run instead.
FEWER = {
    "explainer": {
        "keras.Input((224, 224, 3))": "keras.Input((96, 96, 3))",
        "size = (224, 224)": "size = (96, 96)",
        "random((2, 224, 224)": "random((2, 96, 96)",
    },
    "researcher": {
        '"train": 24, "val": 6, "test": 12': '"train": 8, "val": 3, "test": 4',
        "--set select=MaxBoxAccV2 --set epochs=6": "--set select=MaxBoxAccV2 --set epochs=1",
        "--classifier-set epochs=2": "--classifier-set epochs=1",
    },
}


def names_on(page):
    text = (DOCS / "reference" / f"{page}.md").read_text("utf-8")
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def found(name):
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def test_navigation_has_each_page_once():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}

    assert len(NAV) > 30
    assert sorted(NAV) == sorted(pages | OUTSIDE)


@pytest.mark.parametrize("page", PAGES)
def test_reference_names_what_is_there(page):
    names = names_on(page)

    assert names[0] == f"fcam_tf.{page}"
    for name in names:
        found(name)


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Return what docs/reference/index.md says that examples know."""
    import keras  # noqa: PLC0415 - most tests here need no TensorFlow
    import numpy as np  # noqa: PLC0415
    import skimage.data  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    import fcam_tf  # noqa: PLC0415
    from tests.models.tiny import photos, tiny_classifier  # noqa: PLC0415

    images = photos(2, 64)
    for name in ("cat", "cow", "dog"):  # as many as classes of the model
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number, image in enumerate(images):
            picture = fcam_tf.visualize.Image.fromarray(image)
            picture.save(tmp_path / "pets" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    classifier = tiny_classifier()
    model = fcam_tf.models.FCAM.from_classifier(classifier)
    modules = {"fcam_tf": fcam_tf, "keras": keras, "np": np, "skimage": skimage, "tf": tf}
    mine = {"classifier": classifier, "model": model, "images": images}
    return {**modules, **mine, "labels": np.array([0, 2]), "Path": Path}


def run_examples(names, words):
    """Return how many examples in the docstrings of the names were run."""
    finder, runner, said = doctest.DocTestFinder(), doctest.DocTestRunner(), []
    for name in names:
        for test in finder.find(found(name), name, module=False, globs=words):
            runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    return runner.tries


@pytest.mark.parametrize("page", sorted({*PAGES} - NO_EXAMPLES))
def test_examples_give_what_they_say(page, words):
    names = [name for name in names_on(page)[1:] if name not in LONG]

    assert run_examples(names, words) or LONG & {*names_on(page)}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LONG))
def test_long_examples_give_what_they_say(name, words):
    assert run_examples([name], words)


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]

    subprocess.run(command, cwd=DOCS.parent, env={**os.environ, "FCAM_DOCS_RUN": "0"}, check=True)

    reference = (tmp_path / "reference" / "data.html").read_text("utf-8")
    assert 'id="fcam_tf.data.load"' in reference
    assert 'id="fcam_tf.data.training_dataset"' in reference  # which is imported on first use


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_run(name, tmp_path):
    """Every cell runs, if on fewer or smaller photos than the page, which `make docs` runs."""
    for module in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(module, reason="the extra docs is not installed")
    from tools import site_pages  # noqa: PLC0415

    page = (DOCS / "tutorials" / f"{name}.md").read_text("utf-8")
    for text, fewer in FEWER.get(name, {}).items():
        assert page.count(text) == 1
        page = page.replace(text, fewer)
    notebook = site_pages.run(page, os.fspath(tmp_path))

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 3
    assert any(output.get("data", {}).get("image/png") for c in cells for output in c.outputs)

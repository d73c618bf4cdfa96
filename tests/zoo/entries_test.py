import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from fcam_tf import zoo
from fcam_tf.names import METHODS
from fcam_tf.zoo import entries
from fcam_tf.zoo.fetch import check_file, find_weights
from tests.zoo.conftest import NAME


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Let the package lie in a folder of packages, and return that."""
    package = tmp_path / "site-packages" / "fcam_tf" / "zoo"
    package.mkdir(parents=True)
    monkeypatch.setattr(entries, "__file__", str(package / "entries.py"))
    monkeypatch.delenv("FCAM_ZOO")
    return tmp_path / "site-packages"


def test_a_package_named_zoo_hides_nothing(own, installed):
    (installed / "zoo" / "animals").mkdir(parents=True)
    assert zoo.folders() == {}
    bundled = installed / "fcam_tf" / "zoo" / "entries"
    shutil.copytree(own, bundled)
    assert zoo.folders() == {NAME: bundled / NAME}


def test_a_checkout_has_them_beside_the_package(own, installed):
    shutil.copytree(own, installed / "zoo")
    assert zoo.folders() == {NAME: installed / "zoo" / NAME}


def test_what_was_being_saved_is_no_entry(own):
    shutil.copytree(own / NAME, own / f".{NAME}-x1")
    assert f".{NAME}-x1" not in zoo.folders()


def test_a_zoo_that_is_not_there_is_warned_of(own, monkeypatch):
    monkeypatch.setenv("FCAM_ZOO", str(own / "elsewhere"))
    with pytest.warns(UserWarning, match="FCAM_ZOO names .*elsewhere, which is not a folder"):
        assert NAME not in zoo.folders()


@pytest.mark.usefixtures("own")
def test_list():
    assert zoo.list_models("mobilenet*") == [NAME]
    untrained = zoo.list_models("mobilenet*", trained=False)
    assert len(untrained) == len({*METHODS, "fsl", "has", "cutmix"} - {"cam"})
    assert zoo.list_models("mobilenet*", trained=None) == sorted([NAME, *untrained])
    with pytest.raises(ValueError, match=f"Did you mean '{NAME}'"):
        zoo.card("mobilenet_v3_large_cma")


@pytest.mark.usefixtures("own")
def test_the_folder_of_an_untrained_model_is_refused_with_the_way_to_make_it():
    line = "fcam zoo make resnet50_adl --data DATA --licence LICENCE"
    with pytest.raises(ValueError, match=f"resnet50_adl has not been trained.*`{line}`"):
        entries.folder_of("resnet50_adl")


@pytest.mark.parametrize("name", ["", ".", "..", f"../own/{NAME}", f".{NAME}", "/", "nowhere"])
@pytest.mark.usefixtures("own")
def test_one_is_found_as_among_all(own, name):
    shutil.copytree(own / NAME, own / f".{NAME}")
    assert entries.find_folder(NAME) == zoo.folders()[NAME] == own / NAME
    assert entries.find_folder(name) is None


def test_the_identity_is_all_that_a_model_answers_by(own):
    path = own / NAME / "card.json"
    card = json.loads(path.read_text())
    found = [zoo.identity(NAME)]
    for key, value in (
        ("threshold", 0.75),
        ("input", {**card["input"], "size": 96}),
        ("architecture", {**card["architecture"], "class_names": ["c", "b", "a"]}),
        ("weights", {**card["weights"], "sha256": "0" * 64}),
    ):
        path.write_text(json.dumps({**card, key: value}))
        found.append(zoo.identity(NAME))
    assert len(set(found)) == 5
    path.write_text(json.dumps({**card, "scores": [], "trained_on": "else", "licence": "other"}))
    assert zoo.identity(NAME) == found[0]
    with pytest.raises(ValueError, match="resnet50_adl has not been trained"):
        zoo.identity("resnet50_adl")


def test_list_goes_on_after_a_bad_card(own):
    (own / "broken_cam").mkdir()
    (own / "broken_cam" / "card.json").write_text("[" * 10**5)
    assert {"broken_cam", NAME} <= set(zoo.list_models())
    assert [card["name"] for card in entries.neighbours(own / "new_cam")] == [NAME]


def test_looking_at_entries_and_fetching_them_needs_no_tensorflow():
    code = (
        "import sys; from fcam_tf import cli, zoo; import fcam_tf.zoo.fetch;"
        "name = zoo.list_models('*_layercam')[0]; zoo.card(name);"
        "zoo.list_models(trained=None); cli.run(['fcam', 'localize', 'x', '--model=vgg16_adl']);"
        "cli.run(['fcam', 'zoo', 'list', name]); cli.run(['fcam', 'zoo', 'show', name]);"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    (refused, _) = run.stderr.splitlines()
    assert "fcam zoo make vgg16_adl" in refused


@pytest.mark.usefixtures("own")
def test_a_new_entry_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    with pytest.raises(FileExistsError, match=f"{NAME} exists"):
        entries.new_entry(NAME)
    assert entries.new_entry(NAME, tmp_path / "not" / "yet") == tmp_path / "not" / "yet" / NAME
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        with pytest.raises(ValueError, match=r"`folder` must be one that can be written to.*file"):
            entries.new_entry(NAME, tmp_path / folder)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match="can be written to"):
        entries.new_entry(NAME, tmp_path / "other")


def is_weights(path):
    return path.name in {"weights.safetensors", "model.weights.h5"}


def test_bundled_weights_are_those_of_their_cards(monkeypatch):
    monkeypatch.delenv("FCAM_ZOO", raising=False)
    known = zoo.folders()
    assert len(known) >= 8
    for name, folder in known.items():
        card = zoo.card(name)
        path = find_weights(card, folder)
        check_file(path, card["weights"])
        assert path.parent.name == card["weights"].get("entry", name)
    kept = [path for folder in known.values() for path in folder.iterdir() if is_weights(path)]
    assert len({path.parent for path in kept}) == len(kept)
    stored = [path.read_bytes() for path in kept]
    assert len(set(stored)) == len(stored)


ROOT = Path(__file__).parents[2]
UNPACKED = """
import json, sys
from fcam_tf import __file__, zoo
from fcam_tf.zoo.fetch import find_weights
cards = {name: zoo.card(name) for name in zoo.list_models()}
weights = {}
for name, card in cards.items():
    try:
        weights[name] = str(find_weights(card, zoo.folders()[name]))
    except FileNotFoundError as error:
        assert "FCAM_ZOO" in str(error)
print(json.dumps({"package": __file__, "names": list(cards), "weights": weights}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel, and return what it unpacks to."""
    names = filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))
    compiler = next(filter(None, map(shutil.which, names)), None)
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("wheel")
    # The operations do not run here, and most of the time would go to optimising them.
    quick = folder / "c++"
    quick.write_text(f'#!/bin/sh\nexec {shlex.quote(compiler)} "$@" -O0\n')
    quick.chmod(0o755)
    # The environment's own backend where it has it, as then nothing is fetched.
    alone = ["--no-build-isolation"] * bool(importlib.util.find_spec("scikit_build_core"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", *alone, "-w", folder, ROOT]
    run = subprocess.run(
        command, env={**os.environ, "CXX": str(quick)}, capture_output=True, text=True, check=False
    )
    if "No matching distribution found for scikit-build-core" in run.stderr:
        pytest.skip("needs scikit-build-core, or an index to fetch it from")
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("fcam_tf-*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def light(entry):
    """Tell whether an entry is a decoder alone; of those that hold a network a wheel has cards."""
    name = entry.partition("/")[0]
    return name != "resnet50_layercam" and not name.endswith(".pets3")


@pytest.mark.slow
def test_a_wheel_has_all_but_the_sources_of_the_operations(wheel):
    package = {
        f"fcam_tf/{path}"
        for path in files(ROOT / "fcam_tf")
        if not path.startswith("ops/cc/") and not path.endswith((".pyc", ".so"))
    }
    stored = {
        f"fcam_tf/zoo/entries/{path}"
        for path in files(ROOT / "zoo")
        if path.endswith("/card.json") or (is_weights(Path(path)) and light(path))
    }
    found = {path for path in files(wheel) if path.startswith("fcam_tf/")}
    found = {path for path in found if not path.endswith(".pyc")}  # of the tests below
    assert found == package | stored | {"fcam_tf/ops/fcam_ops.so"}
    assert {"fcam_tf/py.typed", "fcam_tf/zoo/card.schema.json"} < found


@pytest.mark.slow
def test_the_zoo_of_a_wheel_works_from_where_it_is(wheel, tmp_path):
    # Without `site`, which would lead to this checkout.
    paths = os.pathsep.join([str(wheel), sysconfig.get_path("purelib")])
    others = {name: value for name, value in os.environ.items() if not name.startswith("FCAM_")}
    environment = {**others, "PYTHONPATH": paths, "FCAM_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-S", "-c", UNPACKED]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert found["package"] == str(wheel / "fcam_tf" / "__init__.py")
    assert found["names"] == sorted(path.parent.name for path in ROOT.glob("zoo/*/card.json"))
    stored = filter(is_weights, (wheel / "fcam_tf" / "zoo" / "entries").glob("*/*"))
    assert set(found["weights"].values()) == {str(path) for path in stored}
    assert {*found["weights"]} == {name for name in found["names"] if light(name)}
    assert len(found["weights"]) >= 8

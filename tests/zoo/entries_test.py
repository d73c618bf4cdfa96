import shutil
import subprocess
import sys

import pytest

from fcam_tf import zoo
from fcam_tf.zoo import entries
from fcam_tf.zoo.fetch import check_sha256
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


@pytest.mark.usefixtures("own")
def test_list():
    assert zoo.list_models("mobilenet*") == [NAME]
    assert zoo.list_models("mobilenet*", status="architecture") == []
    with pytest.raises(ValueError, match=f"Did you mean '{NAME}'"):
        zoo.card("mobilenet_v3_large_cma")


def test_list_goes_on_after_a_bad_card(own):
    (own / "broken_cam").mkdir()
    (own / "broken_cam" / "card.json").write_text("[" * 10**5)
    assert "broken_cam" in zoo.list_models()
    with pytest.warns(UserWarning, match="broken_cam is left out: .*nested"):
        assert NAME in zoo.list_models(status="trained")
    with pytest.raises(ValueError, match="`status` must be one of trained, architecture"):
        zoo.list_models(status="good")


def test_looking_at_entries_and_fetching_them_needs_no_tensorflow():
    code = (
        "import sys; from fcam_tf import cli, zoo; import fcam_tf.zoo.fetch;"
        "name = zoo.list_models('*_layercam', status='trained')[0]; zoo.card(name);"
        "cli.run(['fcam', 'zoo', 'list', name]); cli.run(['fcam', 'zoo', 'show', name]);"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert run.stderr == ""


def test_bundled_weights_are_those_of_their_cards(monkeypatch):
    monkeypatch.delenv("FCAM_ZOO", raising=False)
    stored = {}
    for folder in zoo.folders().values():
        weights = zoo.read_card(folder / "card.json")["weights"]
        if weights is not None:
            stored[folder / "model.weights.h5"] = weights
    assert len(stored) >= 8
    for path, weights in stored.items():
        check_sha256(path, weights["sha256"])
        assert path.stat().st_size == weights["bytes"]

import shutil

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

import json
import math
from pathlib import Path

import pytest

from fcam_tf import zoo
from fcam_tf.zoo.cards import check_name, data_name
from tests.zoo.conftest import NAME

SCORE = {"data": "a", "split": "test", "metric": "PxAP", "value": 50.0, "command": "b"}


@pytest.fixture
def path(own):
    return own / NAME / "card.json"


def change(path, **values):
    card = json.loads(path.read_text())
    for key, value in values.items():
        *outer, last = key.split("__")
        place = card
        for name in outer:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(card))


def test_reads(path):
    assert zoo.read_card(path)["architecture"]["backbone"] == "mobilenet_v3_large"


def test_reads_cards_of_older_versions(path):
    change(path, recipe={"loss": {"negative_share": 0.3}})
    assert zoo.read_card(path)["recipe"] == {"loss": {"negative_fraction": 0.3}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": "good"}, r"\$\.status"),
        ({"name": "../../etc"}, r"\$\.name"),
        ({"other": 1}, "other"),
        ({"threshold": 2}, r"\$\.threshold"),
        ({"architecture__output_stride": 4}, "output_stride"),
        ({"architecture__num_classes": 10**9}, "num_classes"),
        ({"architecture__decoder_filters": [10**6]}, "decoder_filters"),
        ({"weights__sha256": "../x"}, "weights"),
        ({"weights__addresses": ["ftp://x"]}, "weights"),
        ({"weights__addresses": ["/etc/passwd"]}, "weights"),
        ({"input__range": [0, 1]}, "range"),
        ({"weights": None}, r"\$\.weights"),
        ({"check": None}, r"\$\.check"),
        ({"weights__entry": "../x"}, "entry"),
        ({"scores": [{**SCORE, "value": math.nan}]}, "not JSON compliant"),
        ({"recipe": {"weight": math.inf}}, "not JSON compliant"),
        ({"recipe": {"stored_scales": [2.0]}}, r"\$\.recipe\.stored_scales"),
        ({"architecture__scales": [1, 1e9]}, r"\$\.architecture\.scales"),
    ],
)
def test_the_schema_is_held(path, values, message):
    change(path, **values)
    with pytest.raises(ValueError, match=message):
        zoo.read_card(path)


def test_reads_from_the_folder_itself(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert zoo.read_card("card.json")["name"] == NAME


def test_the_name_is_that_of_the_folder(path):
    change(path, name="resnet50_cam")
    with pytest.raises(ValueError, match=f"of 'resnet50_cam', not of {NAME!r}"):
        zoo.card(NAME)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 10**5, '{"a":' * 10**5])
def test_no_card(path, content):
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a card"):
        zoo.read_card(path)


def test_too_large(path):
    path.write_bytes(b" " * (5 * 2**20))
    with pytest.raises(ValueError, match="larger than"):
        zoo.read_card(path)


@pytest.mark.parametrize("name", ["resnet50_cam", "resnet50_cam.cub"])
def test_a_name(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "../q", "a/b", "A", "a.b.c", ".a", "a\n", "a" * 61])
def test_no_name(name):
    with pytest.raises(ValueError, match="`name` must be"):
        check_name(name)


def test_a_data_set_is_called_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    names = {"a/CUB/": "CUB", "link": "link", ".": tmp_path.name, "in/..": tmp_path.name}
    assert {name: data_name(name) for name in names} == names
    assert data_name(Path("a", "CUB")) == "CUB"
    assert data_name("tfds:cars/small:1.0") == "tfds:cars/small:1.0"

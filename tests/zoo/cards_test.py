import json

import pytest

from fcam_tf import zoo
from tests.zoo.conftest import NAME


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
    ],
)
def test_the_schema_is_held(path, values, message):
    change(path, **values)
    with pytest.raises(ValueError, match=message):
        zoo.read_card(path)


def test_the_name_is_that_of_the_folder(path):
    change(path, name="resnet50_cam")
    with pytest.raises(ValueError, match=f"of 'resnet50_cam', not of {NAME!r}"):
        zoo.card(NAME)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_no_card(path, content):
    path.write_text(content)
    with pytest.raises(ValueError, match="is no card"):
        zoo.read_card(path)


def test_too_large(path):
    path.write_bytes(b" " * (5 * 2**20))
    with pytest.raises(ValueError, match="larger than"):
        zoo.read_card(path)

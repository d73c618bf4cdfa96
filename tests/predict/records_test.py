import json

import pytest

from fcam_tf.predict.records import parse_record

FOUND = {"label": 7, "label_name": None, "score": 0.75, "box": [0, 1, 2, 3]}
FOUND |= {"area": 0.1, "heat": 0.5, "threshold": 0.4, "overlay": "a/b_overlay.png", "mask": None}
RECORD = {"file": "/p/a.jpg", "name": "a/b", "objects": [FOUND, FOUND | {"box": None}]}
RECORD |= {"width": 4, "height": 3, "bytes": 9, "modified": 1.5}


def parsed(**changes):
    return parse_record(json.dumps(RECORD | changes).encode())


def test_a_record_is_read_as_it_is():
    assert parsed() == RECORD
    assert parsed(name="a..b/..c", source="z.zip/a.jpg")["name"] == "a..b/..c"


@pytest.mark.parametrize("line", [b"{torn", b"[]", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_damaged_lines_are_none(line):
    assert parse_record(line) is None


@pytest.mark.parametrize("name", ["../a", "a/../../b", "a/..", "/etc/a", "", "a\0", "..\n/../a"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    """Labels are written by the name of a photo, and old outputs removed by theirs."""
    assert parsed(name=name) is None
    assert parsed(objects=[FOUND | {"mask": name}]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"box": [1, 2, 3]},
        {"box": ["1", 2, 3, 4]},
        {"label": 2**40},
        {"label": "cat"},
        {"label_name": 3},
        {"threshold": float("nan")},
        {"score": float("inf")},
        {"rle": []},
    ],
)
def test_objects_of_other_kinds_are_refused(changes):
    assert parsed(objects=[FOUND | changes]) is None


def test_what_lacks_something_is_refused():
    for key in ("file", "name", "objects", "modified", "width", "height"):
        assert parse_record(json.dumps({**RECORD, key: None}).encode()) is None
    assert parsed(objects=[{"label": 1}]) is None
    assert parsed(file="a\0") is None

"""What a line of results.jsonl must be, so that all that reads one can rely on it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from fcam_tf.predict.files import FILE_KEYS

# A photo's outputs are written by its name, and found by theirs: these lead out of no folder.
_INSIDE = r"^(?!/)(?!([^\0]*/)?\.\.(/|\Z))[^\0]+\Z"
_NUMBER = {"type": "number", "minimum": -1e9, "maximum": 1e9}
_WHOLE = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_FILE = {"type": ["string", "null"], "pattern": _INSIDE}
_RLE = {
    "type": "object",
    "required": ["size", "counts"],
    "properties": {"size": {"type": "array"}, "counts": {"type": "string"}},
}
_OBJECT = {
    "type": "object",
    "required": ["label", "label_name", "score", "box", "area", "heat", "threshold"],
    "properties": {
        "label": _WHOLE,
        "label_name": {"type": ["string", "null"]},
        **dict.fromkeys(("score", "area", "heat", "threshold"), _NUMBER),
        "box": {"type": ["array", "null"], "items": _WHOLE, "minItems": 4, "maxItems": 4},
        "rle": _RLE,
        **dict.fromkeys(FILE_KEYS, _FILE),
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["file", "name", "objects", "modified", "width", "height"],
    "properties": {
        "file": {"type": "string", "pattern": r"^[^\0]+\Z"},
        "name": {"type": "string", "pattern": _INSIDE},
        "source": {"type": ["string", "null"]},
        "objects": {"type": "array", "items": _OBJECT},
        "modified": _NUMBER | {"maximum": 1e12},
        "bytes": _NUMBER | {"maximum": 2**63},
        **dict.fromkeys(("width", "height"), _WHOLE | {"minimum": 1}),
    },
}


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return what a line of results.jsonl says, or None where it is torn or damaged."""
    try:
        record = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return record if _validator().is_valid(record) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not in JSON")


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_SCHEMA)

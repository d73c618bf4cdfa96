"""Checking the lines of results.jsonl, so that all readers can rely on them.

This is done by hand: reading the results of 100,000 photos checks as many lines, and a JSON schema
takes forty times as long as parsing them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fcam_tf.predict.files import FILE_KEYS

# A photo's outputs are written by its name, and found by theirs: these lead out of no folder.
_INSIDE = re.compile(r"^(?!/)(?!([^\0]*/)?\.\.(/|\Z))[^\0]+\Z")


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Parse a line of results.jsonl; return None if it is incomplete or damaged."""
    try:
        record = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _is_record(record) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not in JSON")


def _is_record(record: Mapping[str, Any]) -> bool:
    file, objects = record.get("file"), record.get("objects")
    return (
        isinstance(file, str)
        and bool(file)
        and "\0" not in file
        and _is_inside(record.get("name"))
        and _is_text_or_none(record.get("source"))
        and _is_number(record.get("modified"), most=1e12)
        and _is_number(record.get("bytes", 0), most=2**63)
        and _is_whole(record.get("width"), least=1)
        and _is_whole(record.get("height"), least=1)
        and isinstance(objects, list)
        and all(isinstance(each, dict) and _is_object(each) for each in objects)
    )


def _is_object(found: Mapping[str, Any]) -> bool:
    box = found.get("box", ())
    return (
        _is_whole(found.get("label"))
        and _is_text_or_none(found.get("label_name", 0))
        and all(_is_number(found.get(key)) for key in ("score", "area", "heat", "threshold"))
        and (box is None or (isinstance(box, list) and len(box) == 4 and all(map(_is_whole, box))))
        and ("rle" not in found or _is_rle(found["rle"]))
        and all(found.get(key) is None or _is_inside(found[key]) for key in FILE_KEYS)
    )


def _is_rle(mask: Any) -> bool:
    return (
        isinstance(mask, dict)
        and isinstance(mask.get("size"), list)
        and isinstance(mask.get("counts"), str)
    )


def _is_inside(name: Any) -> bool:
    return isinstance(name, str) and _INSIDE.search(name) is not None


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: Any, least: float = -1e9, most: float = 1e9) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _is_whole(value: Any, least: int = 0) -> bool:
    return _is_number(value, least, 2**31 - 1) and value == int(value)

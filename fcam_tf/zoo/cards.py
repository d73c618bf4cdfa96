"""Cards: what an entry is, what it was trained on, and its scores."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from fcam_tf.names import current

CARD = "card.json"
_LARGEST = 4 * 2**20  # bytes; a thousand class names take 40 kB

Card = dict[str, Any]


def read_card(path: str | Path) -> Card:
    """Read a card and validate it.

    Args:
        path: its file; the folder that contains it has the entry's name.

    Raises:
        ValueError: the file is not a card, or is that of another entry; the message says where.
        OSError: it cannot be read.
    """
    path = Path(path).absolute()  # "card.json" lies in a folder with a name, too
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is not a card: it is larger than {_LARGEST} bytes.")
    try:
        card = json.loads(path.read_text("utf-8"), object_hook=current)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a card: {error}.") from None
    check_card(card, str(path))
    if card["name"] != path.parent.name:
        raise ValueError(f"{path} is the card of {card['name']!r}, not of {path.parent.name!r}.")
    return card


def check_card(card: Any, where: str) -> None:
    """Validate a card.

    Raises:
        ValueError: it violates the schema; the message says where and how.
    """
    try:
        json.dumps(card, allow_nan=False)  # which Python's JSON has beyond the standard
        error = jsonschema.exceptions.best_match(_validator().iter_errors(card))
    except (ValueError, RecursionError) as found:
        raise ValueError(f"{where} is not a card: {found}.") from None
    if error is not None:
        raise ValueError(f"{where} is not a card: {error.json_path}: {error.message[:300]}.")


def check_name(name: str) -> None:
    """Check an entry's name against the schema.

    Raises:
        ValueError: it violates the schema.
    """
    pattern = _validator().schema["properties"]["name"]["pattern"]
    if not re.fullmatch(pattern, name):
        raise ValueError(
            f"`name` must be up to 60 lower case letters, digits and _, perhaps with one more such "
            f"word, of up to 30, after a dot. Received: {name!r}."
        )


def data_name(data: str | Path) -> str:
    """Return the name that a card uses for a data set: its name, or that of its folder."""
    if str(data).startswith("tfds:"):
        return str(data)
    path = Path(data)
    return path.resolve().name if path.name in {"", ".."} else path.name


@cache
def _validator() -> jsonschema.Draft202012Validator:
    text = resources.files("fcam_tf.zoo").joinpath("card.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))

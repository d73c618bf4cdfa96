"""Looking a name up in a table, and saying so when it is not there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``.

    Args:
        table: what there is.
        name: what the user typed.
        kind: the argument's name, for the message.

    Raises:
        ValueError: there is no such name; the message gives the nearest ones and all.
    """
    if name in table:
        return table[name]
    longer = [known for known in table if str(name) and known.startswith(str(name))]
    near = longer[:2] or difflib.get_close_matches(str(name), table, n=2)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"`{kind}` is unknown: {name!r}. {hint}There is {', '.join(table)}.")

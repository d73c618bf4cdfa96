"""What arguments of losses must be: each check names the argument and what came."""

from __future__ import annotations

import numbers
from typing import Any


def whole(name: str, value: Any, least: int) -> None:
    """Raise unless ``value`` is an integer (TypeError) of at least ``least`` (ValueError)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be a whole number. Received: {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be {least} or more. Received: {value!r}.")


def odd(name: str, value: Any) -> None:
    """Raise unless ``value`` is an odd integer (TypeError, ValueError) of 1 or more."""
    whole(name, value, 1)
    if value % 2 == 0:
        raise ValueError(f"`{name}` must be an odd number of pixels. Received: {value!r}.")


def weight(name: str, value: Any) -> None:
    """Raise unless ``value`` is a number (TypeError), finite and not negative (ValueError)."""
    _number(name, value)
    if not 0 <= value < float("inf"):
        raise ValueError(f"`{name}` must be a weight of 0 or more. Received: {value!r}.")


def positive(name: str, value: Any) -> None:
    """Raise unless ``value`` is a number (TypeError), finite and above 0 (ValueError)."""
    _number(name, value)
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be positive and finite. Received: {value!r}.")


def share(name: str, value: Any) -> None:
    """Raise unless ``value`` is a number (TypeError) in (0, 1] (ValueError)."""
    _number(name, value)
    if not 0 < value <= 1:
        raise ValueError(f"`{name}` must be in (0, 1]. Received: {value!r}.")


def choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be {' or '.join(map(repr, choices))}. Received: {value!r}."
        )


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {value!r}.")

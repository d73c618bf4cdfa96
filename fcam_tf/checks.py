"""Checks of arguments: each error names the argument and what was received."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any


def tensorflow_backend(what: str) -> None:
    """Raise a NotImplementedError, which says what needs it, if Keras has another backend."""
    import keras  # noqa: PLC0415 - most checks do without

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise NotImplementedError(
            f"{what} needs the TensorFlow backend. Received: KERAS_BACKEND={backend}."
        )


def number(name: str, value: Any, interval: str) -> None:
    """Raise unless ``value`` is a number (TypeError) in an interval (ValueError).

    As in mathematics: "[0, 1]", "(0, 1]" without its lower end, "[0, inf)".
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {value!r}.")
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= float(value) if interval[0] == "[" else low < float(value)
    below = float(value) <= high if interval[-1] == "]" else float(value) < high
    if not (above and below):
        wanted = f"in {interval}"
        if high == float("inf"):
            least = f"{low:g} or more" if interval[0] == "[" else f"above {low:g}"
            wanted = f"{least}, and finite"
        raise ValueError(f"`{name}` must be {wanted}. Received: {value!r}.")


def whole(name: str, value: Any, least: int) -> None:
    """Raise unless ``value`` is an integer (TypeError) of at least ``least`` (ValueError)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be a whole number. Received: {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be {least} or more. Received: {value!r}.")


def scales(values: Sequence[float]) -> None:
    """Raise unless ``values`` are sizes relative to an image's own, which is one of them."""
    for scale in values:
        number("scales", scale, "(0, inf)")
    if 1 not in values:
        raise ValueError(f"`scales` must contain 1, whose logits are given. Received: {values!r}.")


def odd(name: str, value: Any) -> None:
    """Raise unless ``value`` is an odd integer (TypeError, ValueError) of 1 or more."""
    whole(name, value, 1)
    if value % 2 == 0:
        raise ValueError(f"`{name}` must be an odd number of pixels. Received: {value!r}.")


def rising(**values: float) -> None:
    """Raise a ValueError unless each argument is at least the one before it."""
    if sorted(values.values()) != list(values.values()):
        given = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ValueError(f"`{'`, `'.join(values)}` must rise in this order. Received: {given}.")


def choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        known = " or ".join(map(repr, choices))
        raise ValueError(f"`{name}` must be {known}. Received: {value!r}.")


def class_names(names: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
    """Return ``names`` as a tuple, None as None; raise a ValueError unless each class has one."""
    if names is None:
        return None
    if len(names) != num_classes:
        raise ValueError(
            f"`class_names` must hold one name for each of the {num_classes} classes. "
            f"Received: {len(names)} names."
        )
    return tuple(names)

"""From what a user calls a class to its label."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_label(wanted: str | int, class_names: Sequence[str] | None, num_classes: int) -> int:
    """Find the label that an index or a class name stands for.

    Case does not matter. Where a class has several names ("hammerhead, hammerhead shark"), each of
    them will do.

    Args:
        wanted: an index (int or its text) or a name.
        class_names: the names in the order of the labels, or None.
        num_classes: number of classes.

    Returns:
        The label in [0, num_classes).

    Raises:
        ValueError: the index is out of range, or the name is unknown or fits several classes.
    """
    text = str(wanted).strip()
    if text.lstrip("+-").isdecimal():
        label = int(text)
        if not 0 <= label < num_classes:
            raise ValueError(f"`label` must be in 0..{num_classes - 1}. Received: {label}")
        return label
    if class_names is None:
        raise ValueError(
            f"`label` must be an index in 0..{num_classes - 1}, for this model has no class names. "
            f"Received: {text!r}"
        )
    labels: dict[str, set[int]] = {}
    for label, name in enumerate(class_names):
        for alias in (name, *name.split(",")):
            labels.setdefault(alias.strip().casefold(), set()).add(label)
    found = sorted(labels.get(text.casefold(), ()))
    if len(found) == 1:
        return found[0]
    if found:
        choices = "; ".join(f"{label} ({class_names[label]})" for label in found)
        raise ValueError(f"`label` {text!r} fits several classes, give an index: {choices}")
    close = difflib.get_close_matches(text.casefold(), labels, n=3)
    close = close or [name for name in labels if text.casefold() in name][:3]
    hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"`label` {text!r} is no class of this model.{hint}")

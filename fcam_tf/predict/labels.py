"""From what a user calls a class to its label."""

from __future__ import annotations

import difflib
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
    aliases: dict[str, str] = {}
    labels: dict[str, set[int]] = {}
    for label, name in enumerate(class_names):
        labels.setdefault(name.casefold(), set()).add(label)
        for alias in map(str.strip, name.split(",")):
            labels.setdefault(alias.casefold(), set()).add(label)
            aliases[alias.casefold()] = alias
    key = text.casefold()
    found = sorted(labels.get(key, ()))
    if len(found) == 1:
        return found[0]
    if found:
        choices = "; ".join(f"{label} ({class_names[label]})" for label in found)
        raise ValueError(f"`label` {text!r} fits several classes, give an index: {choices}")
    close = [alias for alias in aliases if key in alias.split()]
    close = close or difflib.get_close_matches(key, aliases)
    hint = f"; did you mean {', '.join(repr(aliases[a]) for a in close[:5])}?" if close else ""
    raise ValueError(f"`label` {text!r} is no class of this model{hint}")

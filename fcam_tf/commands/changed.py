"""Which flags differ from those that the results in a folder were made with."""

from __future__ import annotations

import re
from typing import Any

from fcam_tf.claim import Change, SettingsChangedError

_WHOLE = "explanation"  # a switch that stands for many settings
_LONGEST = 70  # characters of a value in a message
# Settings that are digests, which say nothing to a person; of others, what the flag names is told.
_DIGESTS = {
    "classifier": "what `model` names has changed",
    "layers": "the model has other layers now",
    **dict.fromkeys(
        ("data", "truth_sha256", "train.sha256", "validation.sha256"),
        "`data` has other photos, labels or ground truth now",
    ),
    "images": "`data` has other photos now, or in another order",
    "labels": "the photos of `data` have other labels now",
    "reduced": "the reduced list of `data` has changed",
}


def by_flags(error: SettingsChangedError) -> str:
    """Return what an error says in the words of a command line, its flags as `mask`."""
    changes = ", ".join(dict.fromkeys(map(_told, error.changes)))
    remedy = error.remedy.removeprefix("give ")
    return (
        f"{error.folder} holds results made with other flags: {changes}; give the same, or {remedy}"
    )


def _told(change: Change) -> str:
    group, _, name = change.name.rpartition(".")
    digests = any(_is_digest(value) for value in (change.before, change.now))
    if change.name in _DIGESTS or digests or name.endswith("_sha256"):
        file = name.removesuffix("_sha256")
        return _DIGESTS.get(change.name, f"what `{file}` names has changed")
    if group == _WHOLE and ... in (change.before, change.now):
        name, change = group, Change(group, change.before is not ..., change.now is not ...)
    elif group not in ("", "files", "options"):
        return str(change)  # a number of the recipe, or of the data
    if name == "left_out":
        return "`skip_broken` leaves out other photos than before"
    before, now = (_typed(name, value) for value in (change.before, change.now))
    if before is None:
        return f"`{name}`{now} was not given before"
    if now is None:
        return f"`{name}`{before} was given before, and is not now"
    return f"`{name}` was{before} before, and is{now} now"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _typed(name: str, value: Any) -> str | None:
    """Return a value as it stands behind its flag, after a space; None where the flag does not."""
    if name == "objects" and value is None:
        return " all"
    if value in (..., None, "", [], {}) or value is False:
        return None
    if value is True:
        return ""
    numbers = isinstance(value, list) and not isinstance(value[0], str)
    values = value if isinstance(value, list) else [value]
    text = ("," if numbers else " and ").join(
        f"{each:g}" if isinstance(each, float) else str(each) for each in values
    )
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return f" {text}{' (that of --annotations coco)' if name == 'mask' and 'rle' in values else ''}"

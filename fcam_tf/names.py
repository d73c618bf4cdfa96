"""The names that users type, and looking one up in a table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
_SHOWN = 20  # names in an error; of some tables there are hundreds

# Here, too, so that commands and the zoo know them without TensorFlow; tests hold them to the
# tables, `fcam_tf.models.BACKBONES`, `fcam_tf.cams.METHODS` and `fcam_tf.cams.BASELINES`.
BACKBONES = (
    *("resnet50", "vgg16", "inceptionv3", "efficientnetlite_b0"),  # the baselines are set up here
    *("resnet50_v2", "densenet121", "efficientnetv2_b0", "mobilenet_v3_large"),
)
METHODS = (
    *("cam", "gradcam", "gradcampp", "smoothgradcampp", "xgradcam", "layercam"),
    *("scorecam", "sscam", "iscam"),
)
BASELINES = ("has", "cutmix", "adl", "acol", "spg", "icl")
FSL = "fsl"  # few-shot full supervision: masks teach it


def some(names: Sequence[object], most: int = 5) -> str:
    """Return the first of many names as text, with "..." for the rest."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``.

    Args:
        table: what there is.
        name: what the user typed.
        kind: the argument's name, for the message.

    Raises:
        ValueError: there is no such name; the message gives the nearest ones, and all of a few.
    """
    if name in table:
        return table[name]
    longer = [known for known in table if str(name) and known.startswith(str(name))]
    near = longer[:2] or difflib.get_close_matches(str(name), table, n=2)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    more = f" and {len(table) - _SHOWN} more" if len(table) > _SHOWN else ""
    known = ", ".join(list(table)[:_SHOWN])
    raise ValueError(f"`{kind}` is unknown: {name!r}. {hint}There is {known}{more}.")

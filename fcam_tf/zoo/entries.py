"""Where entries are: names and folders, without TensorFlow."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from fcam_tf.zoo.cards import CARD

ZOO = "FCAM_ZOO"


def folders() -> dict[str, Path]:
    """Return the folders of entries by name: those that come along, and over them the user's own.

    The user's are in the folder that the environment variable FCAM_ZOO names.
    """
    beside = Path(__file__).parents[2] / "zoo"  # in a source checkout
    bundled = beside if beside.is_dir() else Path(str(resources.files("fcam_tf.zoo") / "entries"))
    own = os.environ.get(ZOO, "")
    roots = [bundled, *([Path(own)] if own and "://" not in own else [])]
    found = {path.parent.name: path.parent for root in roots for path in root.glob(f"*/{CARD}")}
    return dict(sorted(found.items()))

"""The models of the zoo: entries, and models that can be built without one. Needs no TensorFlow.

Without an entry, every backbone can be built with every method that supports it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import warnings
from functools import cache
from pathlib import Path

from fcam_tf.names import BACKBONES, BASELINES, FSL, METHODS, WITH_BASELINES, lookup, shortened
from fcam_tf.zoo.cards import CARD, Card, check_name, read_card

ZOO = "FCAM_ZOO"
WEIGHTS = "weights.safetensors"
COPIES = ("scales", "flip")  # of images, whose maps teach: in an architecture, but in no answer
NUM_CLASSES = 200  # of CUB, the paper's first data set
_BATCHES_ONLY = ("has", "cutmix")  # the other baselines are parts of a backbone


def folders() -> dict[str, Path]:
    """Return the folders of trained models: the bundled ones, overridden by the user's own.

    The user's are in the folder that the environment variable FCAM_ZOO names.
    """
    cards = [path for root in _roots() for path in root.glob(f"*/{CARD}")]
    # Hidden ones were being written when somebody ended that.
    found = {path.parent.name: path.parent for path in cards if path.parent.name[0] != "."}
    return dict(sorted(found.items()))


def _roots() -> list[Path]:
    here = Path(__file__).parent
    # A wheel carries the entries; a source checkout has them beside the package, where an installed
    # package may have a neighbour of that name.
    bundled = here / "entries" if (here / "entries").is_dir() else here.parents[1] / "zoo"
    users = os.environ.get(ZOO, "")
    if not users or "://" in users:
        return [bundled]
    if not os.path.isdir(users):  # noqa: PTH112 - it may be too long
        warnings.warn(
            f"{ZOO} names {shortened(users)}, which is not a folder: only bundled models are "
            "known. Correct it, or unset it.",
            stacklevel=3,
        )
    return [bundled, Path(users)]


def find_folder(name: str) -> Path | None:
    """Return the folder that `folders` has for a name, or None, without listing the others."""
    if "/" in name or name[:1] == ".":
        return None
    folders = [root / name for root in _roots()]
    found = [f for f in folders if os.path.isfile(f / CARD)]  # noqa: PTH113 - it may be too long
    return found[-1] if found else None


def folder_of(name: str) -> Path:
    """Return the folder of a trained model.

    Raises:
        ValueError: there is none with that name; the message gives the nearest names, or says how
            to make an untrained one.
    """
    folder = find_folder(name)
    if folder is None and name in buildable():
        raise ValueError(untrained(name))
    return folder or lookup(folders(), name, "name")


def untrained(name: str) -> str:
    """Return a message that a model is untrained, and how it is made."""
    return (
        f"{name} has not been trained: its answers would be random. Train it with `fcam zoo make "
        f"{name} --data DATA --licence LICENCE`; `fcam zoo list` shows what is trained."
    )


def card(name: str) -> Card:
    """Return the card of a model, as card.schema.json describes it.

    For ``<backbone>_<method>`` without an entry it is `untrained_card`.

    Raises:
        ValueError: there is no such model, and the message gives the nearest names; or its card
            is not valid.
        OSError: the card cannot be read.

    Examples:
        >>> card = fcam_tf.zoo.card("efficientnetlite_b0_layercam")
        >>> card["architecture"]["backbone"], card["architecture"]["method"]
        ('efficientnetlite_b0', 'layercam')
    """
    if find_folder(name) is None and name in buildable():
        return untrained_card(name)
    return read_card(folder_of(name) / CARD)


def identity(name: str) -> str:
    """Return the SHA-256 of everything in its card that determines a trained model's output.

    These are its weights, architecture, threshold and input.

    Raises:
        ValueError, OSError: see `card`; or the model has not been trained.
    """
    found = read_card(folder_of(name) / CARD)
    built = {key: value for key, value in found["architecture"].items() if key not in COPIES}
    parts = [built, found["threshold"], found["input"]]
    text = json.dumps([found["weights"]["sha256"], *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def neighbours(folder: Path) -> list[Card]:
    """Return the readable cards beside a folder."""
    cards = []
    for path in folder.parent.glob(f"[!.]*/{CARD}"):
        with contextlib.suppress(OSError, ValueError):
            cards.append(read_card(path))
    return [card for card in cards if card["name"] != folder.name]


def list_models(pattern: str = "*", *, trained: bool | None = True) -> list[str]:
    """Return the names of models, sorted.

    Args:
        pattern: a name, which may contain ``*`` and ``?`` as in a shell.
        trained: True for entries, which are trained; False for models that can be built and have no
            entry yet; None for both.

    Examples:
        >>> fcam_tf.zoo.list_models("efficientnetlite_b[12]_layercam")
        ['efficientnetlite_b1_layercam', 'efficientnetlite_b2_layercam']
        >>> fcam_tf.zoo.list_models("vgg16_c*", trained=False)
        ['vgg16_cam', 'vgg16_cutmix']
    """
    known = folders()
    names = {True: {*known}, False: {*buildable()} - {*known}, None: {*known, *buildable()}}
    return sorted(fnmatch.filter(names[trained], pattern))


def new_entry(name: str, folder: str | Path | None = None, *, replace: bool = False) -> Path:
    """Return the folder of a new entry, after checking that the entry can be made.

    Args:
        name: of the entry.
        folder: the zoo; None takes the folder that FCAM_ZOO names, else ``zoo``.
        replace: whether it may replace an existing entry.

    Raises:
        FileExistsError: the folder has an entry with that name.
        ValueError: the name is not valid, the zoo is an address or cannot be written to, or other
            entries need the weights of the entry to be replaced.
    """
    check_name(name)
    root = (os.environ.get(ZOO) or "zoo") if folder is None else folder
    if "://" in str(root):
        source = f", which {ZOO} names" if folder is None else ""
        raise ValueError(
            f"`folder` must be on this machine, as an entry is written to it. Received: {root}"
            f"{source}. Give another, with --out of fcam zoo make."
        )
    path = Path(root, name)
    if path.exists() and not replace:
        raise FileExistsError(
            f"{path} exists; give another name or folder, or `replace` (fcam zoo make --replace)."
        )
    users = [c["name"] for c in neighbours(path) if c["weights"].get("entry") == name]
    if users:
        raise ValueError(
            f"{path} holds the weights of {', '.join(users)} as well. Remove those entries first."
        )
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ValueError(f"`folder` must be one that can be written to. Received: {root}.")
    return path


@cache
def buildable() -> dict[str, tuple[str, str]]:
    """Return the names ``<backbone>_<method>`` that can be built, with their parts."""
    return {
        f"{backbone}_{method}": (backbone, method)
        for backbone in BACKBONES
        for method in (*METHODS, *BASELINES, FSL)
        if method not in BASELINES or method in _BATCHES_ONLY or backbone in WITH_BASELINES
    }


def parts_of(name: str) -> tuple[str, str]:
    """Return backbone and method of an entry's name, perhaps with ``.<data set>``.

    Raises:
        ValueError: the name does not have this form.
    """
    parts = buildable().get(name.partition(".")[0])
    if parts is None:
        methods = (*METHODS, FSL, *BASELINES)
        raise ValueError(
            f"`name` is not a <backbone>_<method>: {shortened(name)!r}. Backbones: "
            f"{', '.join(BACKBONES)}. Methods: {', '.join(methods)}; the last four only for the "
            "first four backbones."
        )
    return parts


def untrained_card(name: str) -> Card:
    """Return a card for a model that nobody has trained; its status is "untrained".

    It contains what follows from the backbone's specification, `NUM_CLASSES` classes, and None for
    weights and check.
    """
    from fcam_tf.models import BACKBONES as SPECS  # noqa: PLC0415 - TensorFlow

    backbone, method = parts_of(name)
    spec = SPECS[backbone]
    return {
        "name": name,
        "status": "untrained",
        "architecture": {
            "backbone": backbone,
            "output_stride": spec.output_stride,
            "num_classes": NUM_CLASSES,
            "class_names": None,
            "method": "cam" if method == FSL else method,
            "decoder_filters": None,
            **({"baseline": method} if method in BASELINES else {}),
        },
        "trained_on": "nothing yet",
        "recipe": None,
        "scores": [],
        "threshold": "otsu",
        "input": {"colour": "RGB", "range": [0, 255], "size": 224},
        "licence": spec.licence,
        "weights": None,
        "check": None,
    }

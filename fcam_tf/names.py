"""The names that users type: looking them up in a table, and showing them in messages."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Here, too, so that commands and the zoo know them without TensorFlow; tests hold them to the
# tables, `fcam_tf.models.BACKBONES`, `fcam_tf.cams.METHODS`, `fcam_tf.baselines.METHODS` and the
# presets of `fcam_tf.training.recipe`.
WITH_BASELINES = (  # all baselines are set up here
    *("resnet50", "vgg16", "inceptionv3"),
    *("efficientnetlite_b0", "efficientnetlite_b1", "efficientnetlite_b2"),
)
BACKBONES = (
    *WITH_BASELINES,
    *("resnet50_v2", "densenet121", "efficientnetv2_b0", "mobilenet_v3_large"),
)
HUB = "keras_hub:"  # before a preset of keras-hub's that is to be a backbone
# Classifiers that come with their 1000 classes in a package, and the SHA-256 of its file.
PRETRAINED = {
    "efficientnetlite_b0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnetlite_b1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnetlite_b2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
METHODS = (
    *("cam", "gradcam", "gradcampp", "smoothgradcampp", "xgradcam", "layercam"),
    *("hirescam", "gradcamelementwise", "eigencam", "eigengradcam", "fullgrad"),
    *("scorecam", "sscam", "iscam", "ablationcam"),
)
BASELINES = ("has", "cutmix", "adl", "acol", "spg", "icl")
RECIPES = ("cub", "openimages", "ilsvrc", "small")
FCAM_MAP = "fcam"  # the method that takes the map of an F-CAM's decoder
FSL = "fsl"  # few-shot full supervision: masks teach it
CENTER = "center"  # one map for all images, without a network
MASKS = ("png", "soft", "rle")  # forms of an object's mask
DATASETS = ("coco", "yolo", "voc", "labelstudio", "cvat")  # of `fcam_tf.predict.annotations`
TABLES = ("csv", "parquet")
MIN_AREA = 0.01  # of a further object, as a fraction of the image; what is smaller is mostly noise

_LONGEST = 100
# Where in a graph TensorFlow failed: "{{function_node __wrapped__MatMul_device_...}} ",
# "[Op:MatMul] name: " and "[[{{node MatMul}}]]".
_NODES = re.compile(
    r"\{\{function_node [^{}]*\}\}\s*|\s*\[\[\{\{node .*?\}\}.*?\]\]|\s*\[Op:\w*\](?: name:)?"
)
_RENAMED = {"val_share": "val_fraction", "negative_share": "negative_fraction"}
# What came later, by a setting that it stands beside, with what was done before.
_ADDED: dict[str, dict[str, Any]] = {
    "val_fraction": {"val_per_class": 0, "proxy": False},
    "threshold_split": {"scaling": "bilinear"},
}


def current(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that an older version may have stored, as those of today."""
    named = {_RENAMED.get(name, name): value for name, value in settings.items()}
    for beside, added in _ADDED.items():
        if beside in named:
            named = {**added, **named}
    return named


def parsed(text: str) -> Any:
    """Return the JSON value that a user typed, or the text where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # of too many digits or brackets, too
        return text


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``.

    Args:
        table: the known names.
        name: what the user typed.
        kind: the argument's name, for the message.

    Raises:
        ValueError: the name is unknown; the message gives the nearest ones, and the first twenty.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(unknown(table, name, kind))


def is_backbone(name: str) -> bool:
    """Return whether a name is that of a backbone: of our table, or a preset of keras-hub."""
    return name in BACKBONES or name.startswith(HUB)


def unknown(table: Collection[str], name: str, kind: str) -> str:
    """Return the message about a name that is not in a table; see `lookup`."""
    longer = [known for known in table if str(name) and known.startswith(str(name))]
    cased = [known for known in table if known.casefold() == str(name).casefold()]
    # What is cut short may have a slip, too: resnet51, of resnet50_layercam.
    begin = {known[: len(str(name))]: known for known in [*table][::-1]}
    alike = [begin[part] for part in difflib.get_close_matches(str(name), begin, 2, 0.8)]
    close, far = (difflib.get_close_matches(str(name), table, 2, least) for least in (0.8, 0.6))
    near = cased or longer[:2] or close or alike or far
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    came = shortened(name) if isinstance(name, str) else name
    return f"`{kind}` is unknown: {came!r}. {hint}Available: {listed(table, 20)}."


def told(options: Mapping[str, Any]) -> list[str]:
    """Return the options of a method for people, each in some words: "scales 1,1.5,2", "flip"."""

    def shown(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    def words(name: str, value: Any) -> str:
        values = value if isinstance(value, list) else [value]
        return name if value is True else f"{name} {','.join(map(shown, values))}"

    return [words(name, value) for name, value in options.items()]


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return names, or files, for a message: the first ones, and how many more there are."""
    shown = [printable(str(name)) for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def percent(probability: float) -> str:
    """Return a probability for people, such as 79%; one that is small is not 0%."""
    shown = f"{probability:.0%}"
    return "<1%" if probability > 0 and shown == "0%" else shown


def pixels(size: Iterable[int | None]) -> str:
    """Return a size (height, width) for a message, such as 224x224; None is any number."""
    sides = ["any" if side is None else str(side) for side in size]
    return "any number of" if set(sides) == {"any"} else "x".join(sides)


def error_text(error: BaseException) -> str:
    """Return what an error says, without the names of nodes in TensorFlow's graphs."""
    return _NODES.sub("", str(error)).strip()


def line_of(error: BaseException) -> str:
    """Return what an error says as one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def shortened(text: object) -> str:
    """Return a name that a user typed, or the beginning of a very long one, for a message."""
    name = str(text)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def printable(text: str) -> str:
    """Return a text with names of files in it as one line that any terminal and file takes."""
    text = text.encode("utf-8", "backslashreplace").decode()  # a name need not be UTF-8
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

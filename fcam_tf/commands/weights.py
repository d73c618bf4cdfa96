"""What ``--weights`` says where there are several backbones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app

from fcam_tf.commands.telling import usage_errors
from fcam_tf.names import lookup

_WORDS = ("imagenet", "none")


def weights_of(texts: Sequence[str], backbones: Sequence[str]) -> dict[str, str]:
    """Return the initial weights of each backbone.

    Args:
        texts: each "imagenet", "none" or a file, for all that are not named; or NAME=ONE_OF_THESE,
            with commas between several.
        backbones: their names.

    Raises:
        absl.app.UsageError: neither of these, a name that is not among ``backbones``, a backbone
            with two values, or a file for several.
    """
    rest, found = [], dict[str, str]()
    for text in texts:
        if _is_known(text) or "=" not in text or not text.partition("=")[0].isidentifier():
            rest.append(text)
            continue
        whole = _is_known(text.partition("=")[2])  # a file may have commas in its name
        for part in [text] if whole else text.split(","):
            name, _, value = part.partition("=")
            with usage_errors(ValueError):
                lookup(dict.fromkeys(backbones), name, "weights")
            if name in found:
                raise app.UsageError(f"--weights names {name} twice")
            found[name] = _checked(value)
    if len(rest) > 1:
        raise app.UsageError(f"--weights is given twice for all backbones: {rest[0]} and {rest[1]}")
    value = _checked(rest[0]) if rest else _WORDS[0]
    left = [name for name in backbones if name not in found]
    if value not in _WORDS and len(left) > 1:
        raise app.UsageError(
            f"--weights {value} is for one backbone, and --backbones names {len(left)}: say for "
            f"which, such as {left[0]}={value}"
        )
    return {name: found.get(name, value) for name in backbones}


def _is_known(text: str) -> bool:
    return text in _WORDS or Path(text).is_file()


def _checked(text: str) -> str:
    if not _is_known(text):
        raise app.UsageError(f"--weights is neither imagenet nor none nor a file: {text}")
    return text

"""Saved models: loaded by the name of the file, or of the training run that chose them."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from fcam_tf.identity import saved_file

SAVED = ".weights.h5"  # what Keras's ``save_weights`` writes
_KINDS = {
    b"\x89HDF": "is an HDF5 file, whose name must end in .h5",
    b"vers": "is a pointer of Git LFS; fetch the file itself by `git lfs pull`",
}
_DAMAGED = "is not a zip archive, as .keras files are; it may be cut off"


class WeightsInMemory(io.BytesIO):
    """The content of a ``.weights.h5`` file, for Keras's ``save_weights`` and ``load_weights``.

    HDF5 itself should not access a file: on a full disk it may end the process without a message,
    and on a file system without locks it refuses to write and to read.
    """

    def __str__(self) -> str:
        return f"memory{SAVED}"  # which tells Keras of the format


def load(
    path: str | Path, *, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> keras.Model:
    """Load one of this package's models, or any that Keras can load.

    ``keras.saving.load_model`` does the same once ``fcam_tf.models`` is imported: Keras must know
    the classes of saved models.

    Args:
        path: a ``.keras`` file, or the folder of a training run.
        custom_objects: classes and functions of the model that Keras does not know, by name.
        safe_mode: False also loads Lambda layers, which run code from the file.

    Raises:
        FileNotFoundError: there is no such file, or the run has not chosen a model yet.
        ValueError: the file is not a saved model, or contains unknown or unsafe objects.

    Examples:
        >>> model.save("fcam.keras")
        >>> fcam_tf.models.load("fcam.keras").num_classes
        3
    """
    file = saved_file(path)
    if file.suffix == ".keras" and not zipfile.is_zipfile(file):
        with file.open("rb") as opened:
            head = opened.read(4)
        what = _KINDS.get(head, _DAMAGED) if head else "is empty"
        raise ValueError(f"{file} is not a Keras model: it {what}.")
    with warnings.catch_warnings():
        # Said of every model that was saved before any fit: its optimizer has no state yet.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        # Of models of keras-hub: nothing here needs their loss.
        warnings.filterwarnings("ignore", r"`compile\(\)` was not called as part of model loading")
        try:
            return keras.saving.load_model(file, custom_objects, safe_mode=safe_mode)
        except (OSError, ValueError):
            raise
        except (
            Exception
        ) as error:  # a damaged file or the code of a custom layer may raise anything
            raise ValueError(f"{file} {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return why a file holds no model that can be used, as far as Keras's message tells."""
    text = str(error)
    if unknown := re.search(r"Could not (?:locate|deserialize) \w+ '(\w+)'", text):
        module = re.search(r"parent module ([\w.]+) cannot be imported", text)
        where = f" of {module[1]}, which cannot be imported" if module else ""
        return (
            f"holds {unknown[1]!r}{where or ', which Keras does not know'}. "
            f"{'Install that package, or give' if module else 'Give'} it as custom_objects of "
            "fcam_tf.models.load, or its file to the command as --import my_layers.py."
        )
    if custom := re.search(r"<class '([^']+)'> could not be deserialized", text):
        cause = re.findall(r"(?:encountered|deserialization): (.*)", text)[-1:]
        return (
            f"holds a {custom[1].split('.')[-1]} that cannot be made from its configuration"
            f"{': ' + cause[0].rstrip('.') if cause else ''}. Its __init__ must take **kwargs and "
            "pass them to that of its base class, and its get_config must return the arguments of "
            "its own."
        )
    return f"is not a Keras model, or damaged, or its code fails: {error!r}"

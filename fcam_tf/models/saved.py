"""Models that were saved: by name of the file, or of the training run that chose them."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from fcam_tf.identity import saved_file

_KINDS = {
    b"\x89HDF": "is an HDF5 file, whose name must end in .h5",
    b"vers": "is a pointer of Git LFS; fetch the file itself by `git lfs pull`",
}
_DAMAGED = "is not a zip archive, as .keras files are; it may be cut off"


def load(
    path: str | Path, *, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> keras.Model:
    """Load a model of ours, or any that Keras can load.

    ``keras.saving.load_model`` does the same once ``fcam_tf.models`` is imported: the classes of
    saved models must be known.

    Args:
        path: a ``.keras`` file, or the folder of a training run.
        custom_objects: classes and functions of the model that Keras does not know, by name.
        safe_mode: False also loads Lambda layers, which run code that is in the file.

    Raises:
        FileNotFoundError: there is no such file, or the run has not chosen a model yet.
        ValueError: the file is not a saved model, or holds what is not known or not safe.
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
        try:
            return keras.saving.load_model(file, custom_objects, safe_mode=safe_mode)
        except (OSError, ValueError):
            raise
        except (
            Exception
        ) as error:  # a damaged file or the code of a custom layer may raise anything
            found = re.search(r"Could not (?:locate|deserialize) \w+ '(\w+)'", str(error))
            reason = f"is not a Keras model, or damaged, or its code fails: {error!r}"
            if found:
                reason = (
                    f"holds {found[1]!r}, which Keras does not know. Give it as custom_objects of "
                    "fcam_tf.models.load, or its file to the command as --import my_layers.py."
                )
            raise ValueError(f"{file} {reason}") from error

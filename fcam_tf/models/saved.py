"""Models that were saved: by name of the file, or of the training run that chose them."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from fcam_tf.identity import saved_file


def load(path: str | Path) -> keras.Model:
    """Load a model of ours, or any that Keras can load.

    ``keras.saving.load_model`` does the same once ``fcam_tf.models`` is imported: the classes of
    saved models must be known.

    Args:
        path: a ``.keras`` file, or the folder of a training run.

    Raises:
        FileNotFoundError: there is no such file, or the run has not chosen a model yet.
        ValueError: the file is no saved model.
    """
    file = saved_file(path)
    with warnings.catch_warnings():
        # Said of every model that was saved before any fit: its optimizer has no state yet.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        return keras.saving.load_model(file)

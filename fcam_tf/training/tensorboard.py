"""TensorBoard: the curves of a run, and how its maps lie over some photos."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcam_tf.data import Split, evaluation_dataset
from fcam_tf.explain import MapsAndLogits
from fcam_tf.visualize import overlay

_PHOTOS = 6


class Overlays(keras.callbacks.Callback):
    """Write the maps of a few images, evenly spread over a split, over their photos each epoch.

    Images are resized to a square of ``size`` pixels; ``folder`` is that of the logs.
    """

    def __init__(
        self,
        maps_and_logits: MapsAndLogits,
        split: Split,
        folder: str | Path,
        size: int,
    ) -> None:
        super().__init__()
        self.maps_and_logits = maps_and_logits
        self.folder = str(folder)
        chosen = np.unique(np.linspace(0, len(split) - 1, _PHOTOS).round().astype(int))
        self.split = split.subset(chosen)
        self._images, self._labels = next(
            iter(evaluation_dataset(self.split, size=size, batch_size=len(chosen)))
        )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        maps, _ = self.maps_and_logits(self._images, self._labels)
        with self._writer.as_default(step=epoch):
            for name, photo, heatmap in zip(
                self.split.ids, np.asarray(self._images, np.uint8), np.asarray(maps), strict=True
            ):
                tf.summary.image(name, overlay(photo, heatmap)[None])
        self._writer.flush()


def tensorboard(
    maps_and_logits: MapsAndLogits,
    split: Split | None,
    folder: Path,
    size: int,
) -> Sequence[keras.callbacks.Callback]:
    """Return the callbacks that write curves, and overlays where there is a split to show.

    The files go to ``logs`` in the folder; see `Overlays` for the arguments. TensorBoard is no
    longer part of TensorFlow: without it there are none.
    """
    if find_spec("tensorboard") is None:
        return []
    logs = folder / "logs"
    callbacks = [keras.callbacks.TensorBoard(logs, write_graph=False)]
    if split is not None:
        callbacks.append(Overlays(maps_and_logits, split, logs / "maps", size))
    return callbacks

"""The preprocessing that ``predict`` of a keras-hub model does, and the way back to the photo."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf.graphs.resize import resize


class TaskPreprocessing:
    """What runs before the graph of a model: a keras-hub task's preprocessor, or nothing.

    Args:
        model: any Keras model. ``predict`` runs the preprocessor, a call does not, so the graph
            does not contain it.
    """

    def __init__(self, model: keras.Model) -> None:
        task = hasattr(model, "preprocess_samples")  # of keras-hub, which is not imported here
        self._run = getattr(model, "preprocessor", None) if task else None
        self._converter: Any = getattr(self._run, "image_converter", None)

    def __bool__(self) -> bool:
        return self._run is not None

    def __call__(self, images: Any) -> Any:
        """Return the images as the graph takes them."""
        return images if self._run is None else self._run(images)

    def to_photo(self, maps: Any, size: tuple[Any, Any]) -> Any:
        """Scale maps (B, h, w) to the size of the photos, (B, H, W): bilinear, half-pixel.

        If photos were cropped to the model's aspect ratio, the map covers the crop and is 0 outside
        it. If they were padded, the padding is cut off.
        """
        maps = maps[..., None]
        target: Any = getattr(self._converter, "image_size", None)
        crop = target and self._converter.crop_to_aspect_ratio
        if not crop and not (target and self._converter.pad_to_aspect_ratio):
            return resize(maps, size)[..., 0]
        height, width = size
        # As keras.layers.Resizing rounds them.
        fitted = int(width * target[0] / target[1]), int(height * target[1] / target[0])
        if crop:
            part = max(1, min(height, fitted[0])), max(1, min(width, fitted[1]))
            top, left = (height - part[0]) // 2, (width - part[1]) // 2
            below, right = height - part[0] - top, width - part[1] - left
            maps = resize(maps, part)[..., 0]
            return ops.pad(maps, ((0, 0), (top, below), (left, right)))
        whole = max(height, fitted[0]), max(width, fitted[1])
        top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
        return resize(maps, whole)[:, top : top + height, left : left + width, 0]

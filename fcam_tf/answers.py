"""What an exported or served model answers, as functions of TensorFlow alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fcam_tf import cams, checks
from fcam_tf.graphs import regions
from fcam_tf.graphs.photo_files import decode_file, encode_mask
from fcam_tf.graphs.resize import resize
from fcam_tf.names import printable
from fcam_tf.predict.localizer import Localizer

_LONG = {"scorecam", "sscam", "iscam", "ablationcam"}

BYTES = "serve_bytes"
LABELS = "labels.txt"


class Answers:
    """The answers of a localizer, by operations that run where nothing of ours is.

    Args:
        localizer: a model, the way its heat maps are made, and a threshold. No ``refine``, which
            needs an operation of ours.

    Attributes:
        localizer: as given.
        shape: (height, width) of images, None where any will do.
        sides: (height, width) that photos are resized to.

    Raises:
        NotImplementedError: Keras has another backend than TensorFlow.
        ValueError: the localizer refines its maps, or its method needs a pass for each channel.
    """

    def __init__(self, localizer: Localizer) -> None:
        checks.tensorflow_backend("an exported or served model")
        if localizer.refine:
            raise ValueError(
                "`refine` must be left out of an exported model: its operation is none of "
                f"TensorFlow's. Received: {localizer.refine!r}."
            )
        if localizer.method in _LONG:
            raise ValueError(
                f"`method` {localizer.method!r} cannot be exported or served: it needs passes "
                "through the model for each channel. 'layercam' needs one."
            )
        self.localizer = localizer
        self.shape = localizer.image_shape
        self.sides = localizer.image_size

    def localize(self, images: Any) -> dict[str, Any]:
        """Return heat maps, labels, scores and logits of images (B, H, W, 3) float32."""
        maps, logits = self.localizer.in_graph(images)
        maps = resize(tf.cast(maps, tf.float32)[..., None], tf.shape(images)[1:3])[..., 0]
        logits = tf.cast(logits, tf.float32)
        probabilities = cams.probabilities(logits, self.localizer.activation)
        return {
            "heatmap": tf.clip_by_value(maps, 0, 1),
            "label": tf.argmax(probabilities, axis=1),
            "score": tf.reduce_max(probabilities, axis=1),
            "logits": logits,
        }

    def masks(self, heatmaps: Any, engine: regions.Engine = regions.TENSORFLOW) -> Any:
        """Return what counts as object in heat maps, (B, H, W) bool; see `object_masks`."""
        return regions.object_masks(heatmaps, self.localizer.threshold, engine)

    def pixels(self, images: Any) -> dict[str, Any]:
        """Answer images (B, H, W, 3), refusing what is no batch of images or is not finite."""
        # Signatures do not check ranks, and oneDNN's kernels end the process at a wrong one.
        images = tf.ensure_shape(images, (None, *self.shape, 3))
        images = tf.debugging.check_numerics(tf.cast(images, tf.float32), "images")
        found = self.localize(_some(images))
        return {**found, "boxes": regions.boxes_of(self.masks(found["heatmap"]))}

    def files(self, files: Any) -> dict[str, Any]:
        """Answer JPEG or PNG files (B,), boxes and masks in each photo's own pixels."""
        height, width = self.sides
        images, sizes = tf.map_fn(
            lambda file: decode_file(file, self.sides),
            files,
            fn_output_signature=(tf.TensorSpec((*self.sides, 3)), tf.TensorSpec((2,), tf.int32)),
        )
        found = self.localize(_some(images))
        masks = self.masks(found["heatmap"])
        boxes = regions.scale_boxes(regions.boxes_of(masks), tf.constant([width, height]), sizes)
        pictures = tf.map_fn(
            lambda pair: encode_mask(*pair), (masks, sizes), fn_output_signature=tf.string
        )
        found |= {"boxes": boxes, "mask_bytes": pictures}
        if names := self.localizer.class_names:
            found["label_name"] = tf.gather(tf.constant(list(names)), found["label"])
        return found

    def signatures(self) -> dict[str, tuple[Callable[[Any], dict[str, Any]], tf.TensorSpec]]:
        """Return functions by the names of TF Serving's signatures, and what each takes."""
        shape = (None, *self.shape, 3)
        return {
            "serving_default": (self.pixels, tf.TensorSpec(shape, tf.float32, "images")),
            "serve_uint8": (self.pixels, tf.TensorSpec(shape, tf.uint8, "images")),
            BYTES: (self.files, tf.TensorSpec((None,), tf.string, "image_bytes")),
        }


def label_lines(names: Sequence[str]) -> str:
    """Return class names as files of labels have them: one a line, in the order of the labels."""
    return "".join(f"{printable(name)}\n" for name in names)


def _some(images: Any) -> Any:
    some = tf.debugging.assert_positive(tf.shape(images), "there are no images or no pixels")
    with tf.control_dependencies([some]):
        return tf.identity(images)

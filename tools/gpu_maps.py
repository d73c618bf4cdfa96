"""Photos in the memory of a GPU, and maps of classifiers there, for tools/gpu_training.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from PIL import Image

from fcam_tf import cams, data, models
from fcam_tf.cams.split_classifier import Evidence
from fcam_tf.evaluation.scoring import score_images
from fcam_tf.evaluation.summary import Summary
from fcam_tf.graphs.resize import resize

MapsAndLogits = Callable[[Any, Any], tuple[Any, Any]]
# At twice the size, mirrored, a larger one does not fit; a machine without a GPU has less memory.
_BATCH = 64 if jax.default_backend() == "gpu" else 8


@dataclasses.dataclass
class Photos:
    """A split whose photos are on the device, and what scores maps of it.

    Attributes:
        split: the images and their ground truth.
        pixels: (n, side, side, 3) uint8 RGB.
        labels: (n,) int32.
    """

    split: data.Split
    pixels: Any
    labels: Any

    @classmethod
    def load(cls, folder: str, name: str, side: int, limit: int | None) -> Photos:
        """Read a split, or the first photos of it, resized to squares of ``side`` pixels."""
        split = data.load(folder, name)
        split = split.subset(range(min(limit or len(split), len(split))))

        def read(index: int) -> np.ndarray:
            photo = Image.fromarray(split.read_pixels(index))
            return np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR))

        with ThreadPoolExecutor() as executor:
            pixels = np.stack(list(executor.map(read, range(len(split)))))
        return cls(split, jnp.asarray(pixels), jnp.asarray(split.labels, "int32"))

    def explained(
        self, maps_and_logits: MapsAndLogits, rows: Sequence[int] | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Yield maps and logits of batches, all computed at one size: XLA compiles it once."""
        rows = np.arange(len(self.split)) if rows is None else np.asarray(rows)
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            padded = np.resize(part, _BATCH)
            maps, logits = maps_and_logits(self.pixels[padded], self.labels[padded])
            yield maps[: len(part)], logits[: len(part)]

    def scores(self, maps_and_logits: MapsAndLogits, frame: int) -> dict[str, float]:
        """Score maps of the true classes in a square of ``frame`` pixels, in percent, by name."""
        source = _Source(self, maps_and_logits)
        scored = score_images(source, self.split, batch_size=_BATCH, frame=frame)
        found = Summary(scored, self.split).metrics()
        return {name: x for name, x in found.items() if isinstance(x, float)}


class _Source:
    """The `fcam_tf.evaluation.MapSource` of photos on the device."""

    image_size = class_names = None

    def __init__(self, photos: Photos, maps_and_logits: MapsAndLogits) -> None:
        self._photos, self._explain = photos, maps_and_logits
        self._rows = {name: row for row, name in enumerate(photos.split.ids)}
        self.num_classes = len(photos.split.class_names)

    def __call__(self, ids: Sequence[str], *_: Any) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows[name] for name in ids]
        ((maps, logits),) = self._photos.explained(self._explain, rows)
        return np.asarray(maps), np.asarray(logits)


def maps_of(
    model: models.Classifier, method: str, scales: Sequence[float] = (1.0,)
) -> MapsAndLogits:
    """Return ``(images, labels) -> maps (B, h, w) in [0, 1], logits``, of the mean over scales.

    Images of any size; several scales come with mirrored copies. "layercam+" is LayerCAM of P4 and
    P5.
    """
    cam = cams.get(method.rstrip("+"), model)
    body = keras.Model(model.inputs, [model.feature_maps["P4"], model.feature_maps["P5"]])
    tail = keras.Model(model.feature_maps["P4"], model.feature_maps["P5"])

    def once(weights: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        found, _ = body.stateless_call(*weights[0], images, training=False)
        p4, p5 = (x.astype(jnp.float32) for x in found)
        evidence = cam.split.linear_evidence(p5, labels)
        if method.endswith("+"):
            top = lambda x: tail.stateless_call(*weights[1], x, training=False)[0]  # noqa: E731
            to_top = jax.vjp(lambda x: top(x).astype(jnp.float32), p4)[1]
            slope = to_top(jnp.broadcast_to(evidence.gradients[0], p5.shape))[0]
            evidence = Evidence([p4, p5], [slope, *evidence.gradients], evidence.logits, labels)
        return cams.normalize(cam.combine(evidence)), evidence.logits

    @jax.jit
    def averaged(weights: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        total, logits = 0.0, 0.0
        side = round(model.input_size * max(scales)) // model.output_stride
        for scale in scales:
            size = (round(model.input_size * scale),) * 2
            for step in (1, -1) if len(scales) > 1 else (1,):
                maps, found = once(weights, resize(images, size)[:, :, ::step], labels)
                total += resize(maps[:, :, ::step, None], (side, side))[..., 0]
                logits = logits + found
        return cams.normalize(total), logits

    def values(part: keras.Model) -> tuple[list[Any], ...]:
        groups = (part.trainable_variables, part.non_trainable_variables)
        return tuple([variable.value for variable in group] for group in groups)

    # As arguments: XLA folds what a function closes over, for minutes.
    return lambda images, labels: averaged((values(body), values(tail)), images, labels)

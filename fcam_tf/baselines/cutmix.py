"""CutMix: a box of each training image, and a fraction of its label, come from another one."""

from __future__ import annotations

import dataclasses
from typing import Any

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.baselines.base import Baseline, draw_key


@dataclasses.dataclass(frozen=True)
class CutMix(Baseline):
    """CutMix (Yun et al., ICCV 2019), in training only.

    One box for the whole batch, its area drawn from Beta(beta, beta), its centre anywhere, cut at
    the edges. The loss is ``fraction * CE(label) + (1 - fraction) * CE(other)``; the fraction is
    the part of the image that the box left. Network and map are those of CAM.

    Attributes:
        beta: concentration of the distribution.
        probability: with which a batch is mixed at all.

    Raises:
        ValueError: ``beta`` not above 0, or ``probability`` outside of [0, 1].
    """

    name = "cutmix"
    augments = True
    beta: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, "(0, inf)")
        checks.number("probability", self.probability, "[0, 1]")

    def augment(self, images: Any, labels: Any, seed: Any = None) -> tuple[Any, Any]:
        """See `Baseline.augment`; labels become ``{"label", "other", "fraction"}``, each (B,)."""
        batch, height, width = (tf.shape(images)[axis] for axis in range(3))
        mixed, *centre = (
            tf.random.stateless_uniform((), draw_key(seed, salt)) for salt in (0, 2, 3)
        )
        area = _draw_beta(self.beta, draw_key(seed, 1))
        cut = tf.where(mixed < self.probability, tf.sqrt(1.0 - area), 0.0)
        rows, columns = _stretch(height, cut, centre[0]), _stretch(width, cut, centre[1])
        box = rows[:, None] & columns[None, :]
        order = tf.random.experimental.stateless_shuffle(tf.range(batch), draw_key(seed, 4))
        fraction = 1.0 - tf.reduce_mean(tf.cast(box, tf.float32))
        return tf.where(box[..., None], tf.gather(images, order), images), {
            "label": labels,
            "other": tf.gather(labels, order),
            "fraction": tf.fill([batch], fraction),
        }


def _stretch(size: Any, cut: Any, position: Any) -> Any:
    """Return which of ``size`` pixels lie in the box, by its relative side and centre."""
    half = tf.cast(tf.cast(size, tf.float32) * cut, tf.int32) // 2
    centre = tf.cast(tf.cast(size, tf.float32) * position, tf.int32)
    pixels = tf.range(size)
    return (pixels >= centre - half) & (pixels < centre + half)


def _draw_beta(concentration: float, key: Any) -> Any:
    """Draw one float32 from Beta(concentration, concentration)."""
    a, b = tf.unstack(tf.random.stateless_gamma((2,), key, concentration))
    return tf.math.divide_no_nan(a, a + b)  # both underflow to 0 only for tiny concentrations

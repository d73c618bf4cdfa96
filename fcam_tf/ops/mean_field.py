"""Mean field in TensorFlow operations: used if the compiled one is missing, and for gradients."""

from __future__ import annotations

from fcam_tf import lazy_tensorflow as tf
from fcam_tf.ops.bilateral import bilateral_filter

Bilateral = tuple[float, float, float]  # weight, sigma_xy, sigma_rgb
Spatial = tuple[float, float]  # weight, sigma_xy


class MeanField:
    """The pairwise terms of a dense CRF over a batch of images.

    Each kernel is normalised symmetrically, ``D^-1/2 W D^-1/2`` with ``D = W 1``. The bilateral one
    is the lattice of `fcam_tf.ops.bilateral_filter`, and the spatial one is an exact Gaussian.

    Args:
        images: (B, H, W, 3 or 1) uint8 or float32.
        bilateral: weight, sigma_xy and sigma_rgb, or None.
        spatial: weight and sigma_xy, or None.
        compatibility: (K, K) float32, or None for Potts.
    """

    def __init__(
        self,
        images: tf.Tensor,
        bilateral: Bilateral | None,
        spatial: Spatial | None,
        compatibility: tf.Tensor | None,
    ) -> None:
        self._images = images
        self._bilateral = bilateral
        self._spatial = spatial
        self._compatibility = compatibility
        if bilateral is not None:
            ones = tf.ones_like(images[..., :1], dtype=tf.float32)
            self._scale = tf.math.rsqrt(self._filter(ones, *bilateral[1:]))

    def pairwise(self, q: tf.Tensor) -> tf.Tensor:
        """Compute the energy (B, H, W, K) of each class from the marginals of the other pixels.

        For Potts it is ``-W q``, which is lower than the cost of the other classes by a constant
        for each pixel.

        Args:
            q: (B, H, W, K) float32, the marginals.
        """
        messages = tf.zeros_like(q)
        if self._bilateral is not None:
            weight, *sigmas = self._bilateral
            messages += weight * self._scale * self._filter(self._scale * q, *sigmas)
        if self._spatial is not None:
            weight, sigma = self._spatial
            rows, columns = (_gaussian(tf.shape(q)[axis], sigma) for axis in (1, 2))
            blurred = tf.einsum("yv,bvxk->byxk", rows, q)
            messages += weight * tf.einsum("xu,byuk->byxk", columns, blurred)
        if self._compatibility is None:
            return -messages
        return tf.einsum("lm,byxm->byxl", self._compatibility, messages)

    def step(self, unaries: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
        """Return the marginals after one update of all pixels at once."""
        return tf.nn.softmax(-unaries - self.pairwise(q))

    def run(self, unaries: tf.Tensor, iterations: int) -> tf.Tensor:
        """Return the marginals after ``iterations`` updates of ``softmax(-unaries)``."""
        q = tf.nn.softmax(-unaries)
        for _ in range(iterations):
            q = self.step(unaries, q)
        return q

    def _filter(self, values: tf.Tensor, sigma_xy: float, sigma_rgb: float) -> tf.Tensor:
        return bilateral_filter(values, self._images, sigma_rgb, sigma_xy)


def _gaussian(length: tf.Tensor, sigma: float) -> tf.Tensor:
    """Return the symmetrically normalised (length, length) Gaussian between positions."""
    position = tf.cast(tf.range(length), tf.float32) / sigma
    affinity = tf.exp(-0.5 * tf.square(position[:, None] - position[None, :]))
    scale = tf.math.rsqrt(tf.reduce_sum(affinity, axis=1))
    return scale[:, None] * affinity * scale[None, :]

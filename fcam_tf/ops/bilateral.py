"""The permutohedral lattice for users: a filter that is linear in its values, and the CRF loss."""

from __future__ import annotations

from typing import Any

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.ops import lattice, loader


def bilateral_filter(
    values: Any, images: Any, sigma_rgb: float = 15.0, sigma_xy: float = 100.0
) -> tf.Tensor:
    """Filter values by the affinity of pixels: ``W @ values`` for each image.

    ``W_ij`` approximates ``exp(-|f_i - f_j|^2 / 2)`` with the features ``(x, y) / sigma_xy`` and
    ``(r, g, b) / sigma_rgb`` on the permutohedral lattice (Adams et al., Eurographics 2010; splat,
    blur with [0.5, 1, 0.5], slice times 1 / (1 + 2^-d)). It is not normalised, as in published CRF
    losses, and about 0.6 times the exact Gaussian sum. It can be differentiated any number of times
    with respect to ``values`` (the gradient is ``W^T``, exactly), but not with respect to
    ``images``.

    Args:
        values: (B, H, W, C) float; half precision is computed in float32.
        images: (B, H, W, 3) or (B, H, W, 1), uint8 or float, on the same scale as ``sigma_rgb``.
        sigma_rgb: standard deviation over the channels of ``images``.
        sigma_xy: standard deviation over positions, in pixels.

    Returns:
        (B, H, W, C) in the dtype of ``values``.

    Raises:
        TypeError: a sigma is not a number.
        ValueError: a sigma is not positive and finite.
        tf.errors.InvalidArgumentError: shapes do not fit, or something is NaN or infinite.

    Examples:
        >>> ones = np.ones((1, 8, 8, 1), "float32")
        >>> grey = np.full((1, 8, 8, 3), 128)
        >>> filtered = fcam_tf.ops.bilateral_filter(ones, grey)  # how many are like each
        >>> filtered.shape
        TensorShape([1, 8, 8, 1])
    """
    for name, sigma in (("sigma_rgb", sigma_rgb), ("sigma_xy", sigma_xy)):
        checks.number(name, sigma, "(0, inf)")
    values = tf.convert_to_tensor(values)
    filtered = _filter(
        tf.cast(values, tf.float32), image_tensor(images), sigma_rgb, sigma_xy, transpose=False
    )
    return tf.cast(filtered, values.dtype)


def crf_loss_and_gradient(
    images: tf.Tensor,
    probabilities: tf.Tensor,
    sigma_rgb: float,
    sigma_xy: float,
    *,
    symmetric: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the CRF loss of each image and its gradient, in one pass.

    Args:
        images: (B, H, W, 1 or 3), uint8 or float32.
        probabilities: (B, H, W, K) float32.
        sigma_rgb: as in `bilateral_filter`.
        sigma_xy: as in `bilateral_filter`.
        symmetric: True: ``sum_c S_c^T W' (1 - S_c)`` with ``W' = (W + W^T) / 2`` and its exact
            gradient. False: ``-sum_c S_c^T W S_c`` and ``-2 W S_c``.

    Returns:
        (B,) and (B, H, W, K), float32.
    """
    refuse_xla()
    native = loader.library()
    if native is None:
        return lattice.crf_loss_and_gradient(images, probabilities, sigma_rgb, sigma_xy, symmetric)
    with loader.device():
        return native.fcam_crf_loss(
            images=images,
            probabilities=probabilities,
            sigma_rgb=sigma_rgb,
            sigma_xy=sigma_xy,
            symmetric=symmetric,
        )


def image_tensor(images: Any) -> tf.Tensor:
    """Return uint8 images unchanged, others as float32."""
    images = tf.convert_to_tensor(images)
    return images if images.dtype == tf.uint8 else tf.cast(images, tf.float32)


def _filter(
    values: tf.Tensor, images: tf.Tensor, sigma_rgb: float, sigma_xy: float, *, transpose: bool
) -> tf.Tensor:
    refuse_xla()

    @tf.custom_gradient
    def run(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return _filter(upstream, images, sigma_rgb, sigma_xy, transpose=not transpose)

        native = loader.library()
        if native is None:
            return lattice.filter_batch(values, images, sigma_rgb, sigma_xy, transpose), gradient
        with loader.device():
            filtered = native.fcam_bilateral_filter(
                images=images,
                values=values,
                sigma_rgb=sigma_rgb,
                sigma_xy=sigma_xy,
                transpose=transpose,
            )
        return filtered, gradient

    return run(values)


def refuse_xla() -> None:
    """Raise an error that says what to do, before XLA says that it does not know the operation."""
    if tf.is_traced_for_xla():
        raise NotImplementedError(
            "the permutohedral lattice cannot be compiled by XLA. Compile the model with "
            "jit_compile=False, or set `model.supports_jit = False` before, so that "
            'jit_compile="auto" leaves XLA off; or use method="exact" (for small images).'
        )

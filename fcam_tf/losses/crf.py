"""The dense-CRF loss: it is lower for maps that follow the colours of the image."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.resize import resize
from fcam_tf.ops import bilateral, dense_bilateral_filter

Method = Literal["lattice", "exact"]


def crf_loss(
    images: Any,
    probabilities: Any,
    sigma_rgb: float = 15.0,
    sigma_xy: float = 100.0,
    *,
    scale: float = 1.0,
    symmetric: bool = True,
    normalize: bool = False,
    method: Method = "lattice",
) -> Any:
    """Compute ``R = sum_c S_c^T W (1 - S_c)`` for each image (F-CAM, equation 1).

    W is the affinity of pixels in position and colour, see `fcam_tf.ops.bilateral_filter`. R
    counts, weighted by affinity, the pairs of pixels that the map puts on different sides, so it is
    never negative for probabilities. It can be differentiated once, with respect to
    ``probabilities``.

    Published code (rloss, F-CAM's own) instead logs ``-sum_c S_c^T W S_c``, divided by the batch
    size. This is negative, and lower by ``1^T W 1``, which does not depend on S.
    ``symmetric=False`` gives that value and that code's gradient ``-2 W S``. W on the lattice is
    not quite symmetric, so that gradient is off by a few percent; the default uses ``(W + W^T) /
    2``, for which value and gradient agree exactly.

    Choosing the weight: R grows with the fourth power of the side of the image; 2e-9 (rloss, F-CAM)
    is meant for 224x224, sigmas 15 and 100, and the lattice. ``normalize=True`` divides by the
    square of the number of pixels, which makes weights comparable between sizes (2e-9 becomes about
    5). ``method="exact"`` is about 1.7 times larger, because the lattice drops affinity where it
    has no vertices.

    Args:
        images: (B, H, W, 3) or (B, H, W, 1), raw pixels in [0, 255], uint8 or float, with the same
            crop and flip as the map.
        probabilities: (B, H, W, K), classes summing to 1; half precision is cast to float32.
        sigma_rgb: standard deviation over colour, in grey levels.
        sigma_xy: standard deviation over position, in pixels of the image as given.
        scale: factor by which images (nearest) and probabilities (bilinear) are resized first;
            sigma_xy is scaled in the same way.
        symmetric: see above.
        normalize: divide by (H W)^2 after scaling.
        method: "lattice", or "exact" for the dense Gaussian in O((H W)^2), which also runs under
            XLA and on other backends than TensorFlow.

    Returns:
        (B,) float32.

    Raises:
        ValueError: a sigma or ``scale`` is not positive, or ``method`` is unknown or does not run
            on Keras's backend.
        TypeError: a sigma or ``scale`` is not a number.
        tf.errors.InvalidArgumentError: shapes do not fit, or something is NaN or infinite.

    Examples:
        >>> photo = np.zeros((1, 8, 8, 3))
        >>> photo[:, :, 4:] = 255
        >>> along = np.eye(2)[photo[..., 0].astype(int) // 255]  # ends where the colours do
        >>> across = along.transpose(0, 2, 1, 3)
        >>> losses = [fcam_tf.losses.crf_loss(photo, each) for each in (along, across)]
        >>> bool(losses[0] < losses[1])
        True
    """
    checks.choice("method", method, get_args(Method))
    if method == "lattice" and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`method` must be 'exact' where Keras runs on another backend than TensorFlow, as the "
            f"lattice is a TensorFlow operation. Received: 'lattice' on {keras.backend.backend()}. "
            "The exact values are about 1.7 times larger: lower the weight as much. An FCAMLoss "
            "takes crf_method='exact' and crf=1.2e-9 instead of 2e-9."
        )
    for name, value in (("sigma_rgb", sigma_rgb), ("sigma_xy", sigma_xy), ("scale", scale)):
        checks.number(name, value, "(0, inf)")
    expect_raw_pixels(images)
    probabilities = ops.cast(probabilities, "float32")
    if scale != 1.0:
        images, probabilities = _resize(images, probabilities, scale)
        sigma_xy = sigma_xy * scale
    compute = _lattice if method == "lattice" else _exact
    losses = compute(images, probabilities, sigma_rgb, sigma_xy, symmetric)
    if normalize:
        pixels = ops.cast(ops.prod(ops.shape(probabilities)[1:3]), "float32")
        losses = losses / pixels / pixels
    return losses


def _resize(images: Any, probabilities: Any, scale: float) -> tuple[Any, Any]:
    sides = ops.shape(images)[1:3]
    if all(isinstance(side, int) for side in sides):
        size = [max(1, int(side * scale)) for side in sides]
    else:
        scaled = ops.cast(ops.stack(sides), "float64") * scale
        size = ops.maximum(1, ops.cast(scaled, "int32"))
    return resize(images, size, "nearest"), resize(probabilities, size)


def _exact(
    images: Any, probabilities: Any, sigma_rgb: float, sigma_xy: float, symmetric: bool
) -> Any:
    fixed = ops.stop_gradient(probabilities)
    values = ops.concatenate([fixed, ops.ones_like(fixed[..., :1])], axis=-1)
    filtered = ops.stop_gradient(dense_bilateral_filter(values, images, sigma_rgb, sigma_xy))
    ones = filtered[..., -1:] if symmetric else 0.0
    losses = ops.sum(fixed * (ones - filtered[..., :-1]), axis=(1, 2, 3))
    # Linear in the probabilities with the right slope, and zero: autodiff need not see the filter.
    slope = ones - 2.0 * filtered[..., :-1]
    return losses + ops.sum(slope * (probabilities - fixed), axis=(1, 2, 3))


def _lattice(
    images: Any, probabilities: Any, sigma_rgb: float, sigma_xy: float, symmetric: bool
) -> Any:
    @tf.custom_gradient
    def run(probabilities: tf.Tensor) -> tuple[tf.Tensor, Any]:
        losses, gradient = bilateral.crf_loss_and_gradient(
            bilateral.image_tensor(images), probabilities, sigma_rgb, sigma_xy, symmetric=symmetric
        )
        return losses, lambda upstream: upstream[:, None, None, None] * gradient

    return run(probabilities)

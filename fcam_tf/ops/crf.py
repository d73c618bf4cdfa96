"""Mean-field inference in a dense CRF, with the lattice of each image built once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcam_tf import checks
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.ops import loader
from fcam_tf.ops.bilateral import image_tensor, refuse_xla
from fcam_tf.ops.mean_field import MeanField

CLIP = 1e-5  # no probability is taken for less: its logarithm is an energy of 11.5
_SLACK = 1e-3  # what rounding and resizing may add to a probability


def dense_crf(
    probabilities: Any = None,
    images: Any = None,
    *,
    unaries: Any = None,
    bilateral: Sequence[float] | None = (2.0, 100.0, 15.0),
    spatial: Sequence[float] | None = None,
    iterations: int = 5,
    compatibility: Any = None,
) -> Any:
    """Align maps with images: marginals of a fully connected CRF, by mean-field inference.

    The energy is that of Krähenbühl and Koltun (NIPS 2011): unaries, and two Gaussian kernels over
    all pairs of pixels. ``bilateral`` compares position and colour, so pixels of similar colour get
    the same class. ``spatial`` compares only positions, and smooths. Each kernel is normalised
    symmetrically, ``D^-1/2 W D^-1/2`` with ``D = W 1``, so weights do not depend on the size of the
    image. The bilateral kernel is approximated on the permutohedral lattice (`bilateral_filter`),
    which is built once for all iterations; the spatial one is a separable Gaussian over the five
    sigmas around a pixel, on the CPU to 4e-5 of its height.

    It can be differentiated with respect to ``probabilities``, ``unaries`` and ``compatibility``,
    but not ``images``: the iterations are unrolled in TensorFlow, as in CRF-as-RNN (Zheng et al.,
    ICCV 2015), which costs more than inference. It runs where `backend` says, on the CPU or on a
    GPU.

    Args:
        probabilities: (B, H, W, K) float in [0, 1], of two classes or more. They are clipped at
            1e-5, and the unaries are their negative logarithms.
        images: (B, H, W, 3) or (B, H, W, 1), uint8 or float, of the same size as the maps, with
            values in the unit of sigma_rgb (usually [0, 255]).
        unaries: (B, H, W, K) float energies, instead of ``probabilities``: low where a class is
            likely.
        bilateral: (weight, sigma_xy in pixels, sigma_rgb in grey levels), or None.
        spatial: (weight, sigma_xy in pixels), or None.
        iterations: number of updates; 0 gives ``softmax(-unaries)``.
        compatibility: (K, K), the cost of class l (row) at a pixel for class m (column) at
            another, times the weight; None for Potts, which is 1 minus the identity.

    Returns:
        (B, H, W, K) float32 that sum to 1 over the classes: a tensor if maps, images or
        ``compatibility`` are one, else a NumPy array.

    Raises:
        TypeError: not exactly one of ``probabilities`` and ``unaries`` is given, ``images`` is
            missing, or an argument that must be a number is not one.
        ValueError: shapes do not fit, a sigma is not positive, a weight is negative, or one of them
            is infinite.
        tf.errors.InvalidArgumentError: a value is NaN or infinite, a probability is not in [0, 1],
            or shapes that are known only at run time do not fit.
        NotImplementedError: under XLA.

    Examples:
        >>> maps = model.localize(images).heatmaps
        >>> marginals = fcam_tf.ops.dense_crf(np.stack([1 - maps, maps], -1), images)
        >>> marginals.shape, bool(np.allclose(marginals.sum(-1), 1))
        ((2, 64, 64, 2), True)
    """
    bilateral = _kernel("bilateral", bilateral, ("weight", "sigma_xy", "sigma_rgb"))
    spatial = _kernel("spatial", spatial, ("weight", "sigma_xy"))
    checks.whole("iterations", iterations, 0)
    if images is None or (probabilities is None) == (unaries is None):
        given = {"probabilities": probabilities, "images": images, "unaries": unaries}
        names = ", ".join(name for name, value in given.items() if value is not None) or "none"
        raise TypeError(
            "dense_crf takes `images`, and either `probabilities` or `unaries`. "
            f"Received: {names} of them."
        )
    refuse_xla()
    maps = probabilities if unaries is None else unaries
    tensors = any(tf.is_tensor(value) for value in (maps, images, compatibility))
    name = "probabilities" if unaries is None else "unaries"
    images = image_tensor(images)
    # The compiled operation reads an array where it lies. As a tensor it would be copied first.
    if unaries is not None and not tensors and loader.library() is not None:
        maps = np.asarray(maps, np.float32, order="C")
    else:
        maps = tf.cast(tf.convert_to_tensor(maps), tf.float32)
    if compatibility is not None:
        compatibility = tf.cast(tf.convert_to_tensor(compatibility), tf.float32)
    _check_shapes(name, maps, images, compatibility)
    # The compiled operation looks at unaries itself, and sooner than another pass over them.
    if unaries is None or loader.library() is None:
        maps = tf.debugging.assert_all_finite(maps, f"`{name}` contain NaN or infinity")
    if compatibility is not None:
        compatibility = tf.debugging.assert_all_finite(
            compatibility, "`compatibility` contains NaN or infinity"
        )
    energies = maps if unaries is not None else _energies(maps)
    marginals = _infer(
        energies,
        images,
        compatibility,
        bilateral=bilateral,
        spatial=spatial,
        iterations=int(iterations),
    )
    return marginals if tensors else marginals.numpy()


def _kernel(name: str, value: Any, parts: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return the numbers of a kernel, checked; None where its weight is 0."""
    if value is None:
        return None
    if isinstance(value, str) or np.ndim(value) != 1 or len(value) != len(parts):
        raise ValueError(f"`{name}` must be ({', '.join(parts)}) or None. Received: {value!r}.")
    for part, number in zip(parts, value, strict=True):
        checks.number(f"{name}: {part}", number, "[0, inf)" if part == "weight" else "(0, inf)")
    return tuple(map(float, value)) if value[0] else None


def _check_shapes(name: str, maps: Any, images: tf.Tensor, compatibility: Any) -> None:
    shape = tf.TensorShape(maps.shape)
    fits = shape.rank == images.shape.rank == 4
    if not fits or not shape[:3].is_compatible_with(images.shape[:3]):
        raise ValueError(
            f"`{name}` must be (B, H, W, K) and `images` (B, H, W, 3 or 1), of the same batch and "
            f"size. Received: {name} of shape {shape} and images of shape {images.shape}. "
            "A single map (H, W) of one class becomes np.stack([1 - map, map], -1)[None]."
        )
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"`images` must have 1 or 3 channels. Received: shape {images.shape}.")
    if shape[-1] in (0, None):
        raise ValueError(f"`{name}` must have a known number of classes. Received: {shape}.")
    if shape[-1] == 1 and name == "probabilities":
        raise ValueError(
            "`probabilities` must be of two classes or more, as one alone is certain everywhere. "
            f"Received: shape {shape}. A map (B, H, W, 1) of an object becomes "
            "np.concatenate([1 - map, map], -1)."
        )
    classes = shape[-1]
    if compatibility is not None and not compatibility.shape.is_compatible_with([classes] * 2):
        raise ValueError(
            f"`compatibility` must be ({classes}, {classes}), as there are {classes} classes. "
            f"Received: shape {compatibility.shape}."
        )


def _energies(probabilities: tf.Tensor) -> tf.Tensor:
    """Return the negative logarithms of probabilities, clipped, and refuse what is none."""
    message = "`probabilities` must be in [0, 1]; energies are `unaries=`"
    inside = [
        tf.debugging.assert_greater_equal(probabilities, -_SLACK, message, summarize=1),
        tf.debugging.assert_less_equal(probabilities, 1 + _SLACK, message, summarize=1),
    ]
    with tf.control_dependencies([check for check in inside if check is not None]):
        return -tf.math.log(tf.clip_by_value(probabilities, CLIP, 1.0))


def _infer(
    unaries: Any,
    images: tf.Tensor,
    compatibility: tf.Tensor | None,
    *,
    bilateral: Any,
    spatial: Any,
    iterations: int,
) -> tf.Tensor:
    def unrolled(unaries: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
        field = MeanField(images, bilateral, spatial, None if compatibility is None else matrix)
        return field.run(unaries, iterations)

    matrix = tf.zeros((0, 0)) if compatibility is None else compatibility
    native = loader.library()
    if native is None:
        return unrolled(unaries, matrix)

    def inferred(unaries: Any, matrix: tf.Tensor) -> tf.Tensor:
        weight, sigma_xy, sigma_rgb = bilateral or (0.0, 1.0, 1.0)
        spatial_weight, spatial_sigma = spatial or (0.0, 1.0)
        with loader.device():
            return native.fcam_dense_crf(
                images=images,
                unaries=unaries,
                compatibility=matrix,
                bilateral_weight=weight,
                sigma_xy=sigma_xy,
                sigma_rgb=sigma_rgb,
                spatial_weight=spatial_weight,
                spatial_sigma=spatial_sigma,
                iterations=iterations,
            )

    @tf.custom_gradient
    def compiled(unaries: tf.Tensor, matrix: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            with tf.GradientTape() as tape:
                tape.watch([unaries, matrix])
                marginals = unrolled(unaries, matrix)
            return tape.gradient(marginals, [unaries, matrix], upstream)

        return inferred(unaries, matrix), gradient

    return (compiled if tf.is_tensor(unaries) else inferred)(unaries, matrix)

"""The permutohedral lattice in TensorFlow operations, used if the compiled one is missing.

It is the same lattice, vertex by vertex, in the coordinates that the compiled one uses. An affine
map takes the lattice to the integers, and its simplices to those that sorting the fractional parts
gives (Kuhn's), so neither ranks nor remainders are needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fcam_tf import lazy_tensorflow as tf


class _Lattice(NamedTuple):
    """One image's lattice.

    Attributes:
        ids: (pixels * (d + 1),) vertex of each corner of each pixel's simplex.
        weights: (pixels, d + 1) barycentric.
        neighbours: (d + 1, 2, vertices) next and last vertex along each axis; ``vertices`` where
            there is none.
        vertices: their number.
    """

    ids: tf.Tensor
    weights: tf.Tensor
    neighbours: tf.Tensor
    vertices: tf.Tensor


def filter_batch(
    values: tf.Tensor, images: tf.Tensor, sigma_rgb: float, sigma_xy: float, transpose: bool
) -> tf.Tensor:
    """Filter each image's values; see `fcam_tf.ops.bilateral_filter`."""
    _check(images, values, "values")

    def one(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, value = pair
        lattice = _build(image, sigma_rgb, sigma_xy)
        return _slice(lattice, _blur(lattice, _splat(lattice, value), transpose), tf.shape(value))

    filtered = tf.map_fn(one, (images, values), fn_output_signature=tf.float32)
    return tf.reshape(filtered, tf.shape(values))  # of no image, map_fn knows no size


def crf_loss_and_gradient(
    images: tf.Tensor,
    probabilities: tf.Tensor,
    sigma_rgb: float,
    sigma_xy: float,
    symmetric: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute loss and gradient; see `fcam_tf.ops.bilateral.crf_loss_and_gradient`."""
    _check(images, probabilities, "probabilities")

    def one(pair: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image, value = pair
        lattice = _build(image, sigma_rgb, sigma_xy)
        splatted = _splat(lattice, tf.concat([value, tf.ones_like(value[..., :1])], axis=-1))
        blurred = _blur(lattice, splatted, transpose=False)
        ones = tf.zeros_like(blurred[:, -1:])
        if symmetric:
            blurred = (blurred + _blur(lattice, splatted, transpose=True)) / 2
            ones = blurred[:, -1:]
        splatted, blurred = splatted[:, :-1], blurred[:, :-1]
        # Near one-hot maps the sum is a small difference of large terms.
        terms = tf.cast(splatted, tf.float64) * tf.cast(ones - blurred, tf.float64)
        depth = lattice.neighbours.shape[0] - 1
        loss = tf.cast(tf.reduce_sum(terms), tf.float32) / (1 + 2.0**-depth)
        return loss, _slice(lattice, ones - 2 * blurred, tf.shape(value))

    return tf.map_fn(one, (images, probabilities), fn_output_signature=(tf.float32, tf.float32))


def _check(images: tf.Tensor, values: tf.Tensor, name: str) -> None:
    """Raise what the compiled operations raise."""
    fits = images.shape.rank == values.shape.rank == 4
    if not fits or not images.shape[:3].is_compatible_with(values.shape[:3]):
        raise tf.errors.InvalidArgumentError(
            None,
            None,
            f"images must be (B, H, W, channels) and {name} (B, H, W, C) of the same batch and "
            f"size. Received: images {images.shape}, {name} {values.shape}",
        )
    if images.shape[-1] not in (1, 3):
        raise tf.errors.InvalidArgumentError(
            None, None, f"images must have 1 or 3 channels. Received: images {images.shape}"
        )
    tf.debugging.assert_all_finite(
        tf.cast(images, tf.float32), "the image contains NaN or infinity"
    )
    tf.debugging.assert_all_finite(values, f"the {name} contain NaN or infinity")


def _build(image: tf.Tensor, sigma_rgb: float, sigma_xy: float) -> _Lattice:
    height, width, channels = tf.shape(image)[0], tf.shape(image)[1], image.shape[-1]
    depth = channels + 2
    y, x = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    position = tf.cast(tf.stack([x, y], axis=-1), tf.float64) / sigma_xy
    colour = tf.cast(image, tf.float64) / sigma_rgb
    features = tf.reshape(tf.concat([position, colour], axis=-1), (-1, depth))
    coordinates = tf.matmul(features, _embedding(depth))
    cell = tf.floor(coordinates)
    # Stable, so that of equal fractions the lower axis comes first: the left edge always ties.
    order = tf.argsort(cell - coordinates, axis=-1, stable=True)
    fractions = tf.gather(coordinates - cell, order, axis=-1, batch_dims=1)
    edges = tf.pad(fractions, [[0, 0], [1, 0]], constant_values=1.0)
    weights = edges - tf.pad(fractions, [[0, 0], [0, 1]])

    cell = tf.cast(cell, tf.int64)
    low = tf.reduce_min(cell, axis=0) - 1
    size = tf.reduce_max(cell, axis=0) - low + 3
    stride = tf.math.cumprod(size, exclusive=True)
    steps = tf.cumsum(tf.gather(stride, order), axis=-1)
    first = tf.reduce_sum((cell - low) * stride, axis=-1, keepdims=True)
    corners = first + tf.pad(steps, [[0, 0], [1, 0]])
    addresses, _ = tf.unique(tf.sort(tf.reshape(corners, [-1])))
    ids = tf.searchsorted(addresses, tf.reshape(corners, [-1]))

    vertices = tf.size(addresses)
    axis = tf.concat([stride, tf.reduce_sum(stride, keepdims=True)], axis=0)
    wanted = addresses + tf.stack([axis, -axis], axis=1)[..., None]
    place = tf.searchsorted(addresses, tf.reshape(wanted, [-1]))
    found = tf.gather(tf.pad(addresses, [[0, 1]], constant_values=-1), place)
    neighbours = tf.where(found == tf.reshape(wanted, [-1]), place, vertices)
    neighbours = tf.reshape(neighbours, (depth + 1, 2, -1))
    return _Lattice(ids, tf.cast(weights, tf.float32), neighbours, vertices)


def _embedding(depth: int) -> np.ndarray:
    """Return the (features, coordinates) matrix of the affine map."""
    index = np.arange(depth)
    scale = np.sqrt(2 / 3) * (depth + 1) / np.sqrt((index + 1.0) * (index + 2.0))
    differences = np.zeros((depth, depth))  # y_j - y_{j+1} from the features
    for j in range(depth):
        differences[j, j] = (j + 2) * scale[j] / (depth + 1)
        if j:
            differences[j - 1, j] = -j * scale[j - 1] / (depth + 1)
    return differences @ np.tril(np.ones((depth, depth)))


def _splat(lattice: _Lattice, values: tf.Tensor) -> tf.Tensor:
    values = tf.reshape(values, (-1, 1, tf.shape(values)[-1]))
    weighted = tf.reshape(lattice.weights[..., None] * values, (-1, tf.shape(values)[-1]))
    return tf.math.unsorted_segment_sum(weighted, lattice.ids, lattice.vertices)


def _blur(lattice: _Lattice, values: tf.Tensor, transpose: bool) -> tf.Tensor:
    axes = range(lattice.neighbours.shape[0])
    for axis in reversed(axes) if transpose else axes:
        padded = tf.pad(values, [[0, 1], [0, 0]])  # a missing neighbour is 0
        both = tf.gather(padded, lattice.neighbours[axis])
        values = values + 0.5 * (both[0] + both[1])
    return values


def _slice(lattice: _Lattice, values: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    corners = tf.gather(values, tf.reshape(lattice.ids, tf.shape(lattice.weights)))
    depth = lattice.neighbours.shape[0] - 1
    filtered = tf.einsum("nv,nvc->nc", lattice.weights, corners) / (1 + 2.0**-depth)
    return tf.reshape(filtered, shape)

"""tf.data pipelines: the benchmark's training and evaluation geometry.

Training: resize to 256 x 256 regardless of the aspect ratio, random 224 x 224 crop, horizontal
flip. Evaluation: straight resize to 224 x 224. Both bilinear with antialiasing, as Pillow does it
to a grey level or two (Choe et al., CVPR 2020). Images stay RGB in [0, 255]; models do their own
preprocessing.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from fcam_tf.data.split import Split
from fcam_tf.photos import PhotoError, is_plain_jpeg, read_pixels

_BROKEN = "the photo is broken"
_HEAD = 2**16  # bytes of a file that tell its kind
Batch = tf.Tensor | dict[str, tf.Tensor]


def training_dataset(
    split: Split,
    *,
    batch_size: int = 32,
    resize: int = 256,
    crop: int = 224,
    flip: bool = True,
    cams: ArrayLike | None = None,
    with_masks: bool = False,
    augment: Callable[[tf.Tensor, Batch, tf.Tensor], tuple[tf.Tensor, Batch]] | None = None,
    seed: int = 0,
    first_epoch: int | None = None,
) -> tf.data.Dataset:
    """Shuffled, augmented batches for ``model.fit``.

    Images, stored CAMs and masks get the same crop and flip. The same seed gives the same batches,
    epoch by epoch; epochs differ. The last batch may be smaller.

    Args:
        split: what to read.
        batch_size: images in a batch.
        resize: side to which images are resized first.
        crop: side of the random crop, at most ``resize``.
        flip: whether to flip half of the images horizontally.
        cams: (n, h, w) stored maps in the order of the split, kept in memory; they are resized
            bilinearly to ``resize`` and then cropped and flipped.
        with_masks: whether to give masks, or filled boxes where there are none.
        augment: what else changes each batch, given images, labels and two integers to draw from.
        seed: of order, crops, flips and ``augment``.
        first_epoch: None gives one epoch at each iteration. A number gives epoch after epoch
            without end, from that one on, each the same whichever came first: with
            ``fit(steps_per_epoch=...)`` training that was interrupted goes on as it would have.

    Returns:
        Batches (image, label), or (image, {"label", "cam", "mask"}) where CAMs or masks were asked
        for: image (B, crop, crop, 3) float32 in [0, 255], label (B,) int64, cam (B, crop, crop)
        float32, mask (B, crop, crop) uint8 with 1 object, 0 background, 255 ignored.

    Raises:
        ValueError: for sizes that do not fit, an empty split, maps of another number or a split
            without masks and boxes.
    """
    if not 0 < crop <= resize:
        raise ValueError(f"crop must be in [1, resize={resize}], got {crop}")
    columns = _columns(split, cams, with_masks=with_masks)

    def load(index: tf.Tensor, epoch: tf.Tensor) -> tuple[tf.Tensor, Batch]:
        element = {name: tf.gather(column, index) for name, column in columns.items()}
        layers = _read(split, element, (resize, resize))
        pair = tf.stack([seed * len(split) + index, epoch])
        top, left, mirrored = _draw(pair, resize - crop)
        for name, layer in layers.items():
            piece = layer[top : top + crop, left : left + crop]
            if flip:
                piece = tf.cond(mirrored, lambda p=piece: tf.reverse(p, [1]), lambda p=piece: p)
            layers[name] = tf.ensure_shape(piece, (crop, crop, layer.shape[-1]))
        return _finish(layers, element["label"])

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(split), dtype=tf.int64), [seed, epoch]
        )
        batches = (
            tf.data.Dataset.from_tensor_slices(order)
            .map(
                lambda index: load(index, epoch),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .batch(batch_size)
        )
        if augment is None:
            return batches
        return batches.enumerate().map(
            lambda step, batch: augment(*batch, tf.stack([seed * len(split) + step, epoch])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    if first_epoch is not None:
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        return epochs.flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)
    epochs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    steps = -(-len(split) // batch_size)
    return (
        epochs.flat_map(one_epoch)
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_dataset(
    split: Split,
    *,
    batch_size: int = 32,
    size: int | tuple[int, int] = 224,
    cams: ArrayLike | None = None,
    with_masks: bool = False,
) -> tf.data.Dataset:
    """Batches in the split's order, each image resized straight to one size.

    Args:
        split: what to read.
        batch_size: images in a batch.
        size: side, or (height, width).
        cams: see ``training_dataset``.
        with_masks: see ``training_dataset``. Metrics resize masks with the benchmark's own rule
            (``metrics.join_masks``) instead.

    Returns:
        Batches as in ``training_dataset``; batch k holds ids[k * batch_size :].

    Raises:
        ValueError: see ``training_dataset``.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be positive, got {size}")

    def load(element: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Batch]:
        return _finish(_read(split, element, (height, width)), element["label"])

    return (
        tf.data.Dataset.from_tensor_slices(_columns(split, cams, with_masks=with_masks))
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


class BrokenPhotoError(OSError):
    """A photo of a split cannot be read; the message names the file and says why, in one line."""


@contextlib.contextmanager
def naming_photos() -> Iterator[None]:
    """Turns what a data set raises for a photo that cannot be read into a BrokenPhotoError."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(rf"{_BROKEN}\W+([0-9a-f]+)", error.message)
        if "JPEG" in error.message and found is None:  # damage that only TensorFlow minds
            raise BrokenPhotoError(
                "a photo cannot be decoded; fcam data check says which"
            ) from None
        if found is None:
            raise
        raise BrokenPhotoError(os.fsdecode(bytes.fromhex(found[1]))) from None


def _columns(split: Split, cams: ArrayLike | None, *, with_masks: bool) -> dict[str, tf.Tensor]:
    if len(split) == 0:
        raise ValueError(f"split {split.name!r} is empty")
    if with_masks and split.masks is None and split.boxes is None:
        raise ValueError(f"split {split.name!r} has no masks and no boxes; leave out with_masks")
    columns = {"path": [str(path) for path in split.paths], "label": split.labels}
    if cams is not None:
        array = np.asarray(cams)
        if array.ndim != 3 or len(array) != len(split):
            raise ValueError(
                f"cams must be one (h, w) map for each of {len(split)} images, got {array.shape}"
            )
        columns["cam"] = array
    if with_masks:
        columns["mask"] = np.arange(len(split))
    with tf.device("CPU"):
        return {name: tf.constant(column) for name, column in columns.items()}


def _read(
    split: Split, element: dict[str, tf.Tensor], size: tuple[int, int]
) -> dict[str, tf.Tensor]:
    """Reads what is asked of one image as (height, width, channels) layers of one size."""
    image = tf.ensure_shape(_decode(element["path"], upright=split.upright), (None, None, 3))
    # By TensorFlow: Pillow lets no other thread work while it resizes.
    layers = {"image": tf.image.resize(image, size, method="bilinear", antialias=True)}
    if "cam" in element:
        cam = tf.cast(element["cam"], tf.float32)[..., None]
        layers["cam"] = tf.image.resize(cam, size, method="bilinear")
    if "mask" in element:
        mask = tf.numpy_function(
            lambda index: split.read_object(int(index)), [element["mask"]], tf.uint8
        )
        mask = tf.ensure_shape(mask, (None, None))[..., None]
        layers["mask"] = tf.image.resize(mask, size, method="nearest")
    return layers


@tf.autograph.experimental.do_not_convert
def _pixels(upright: bool, path: bytes) -> tuple[NDArray[np.uint8], bytes]:
    """Reads a photo; or says in hexadecimal digits, which TensorFlow's errors keep, why not.

    An exception would come with its traceback, in the error and on stderr.
    """
    file = Path(os.fsdecode(path))
    try:
        return read_pixels(file, upright=upright), b""
    except PhotoError as error:
        text = os.fsencode(f"{file}: {error}")
        return np.zeros((1, 1, 3), np.uint8), text.hex().encode()


def _decode(path: tf.Tensor, *, upright: bool) -> tf.Tensor:
    """Decodes a photo, a plain and whole JPEG in TensorFlow: that is faster and gives the same."""
    file = tf.io.read_file(path)
    plain = tf.numpy_function(
        functools.partial(is_plain_jpeg, upright=upright),
        [tf.strings.substr(file, 0, _HEAD)],
        tf.bool,
        stateful=False,
    )
    end = tf.strings.substr(file, tf.maximum(tf.strings.length(file) - 2, 0), 2)

    def any_photo() -> tf.Tensor:
        image, broken = tf.numpy_function(
            functools.partial(_pixels, upright), [path], [tf.uint8, tf.string], stateful=False
        )
        whole = tf.debugging.Assert(tf.strings.length(broken) == 0, [_BROKEN, broken])
        with tf.control_dependencies([whole]):
            return tf.identity(image)

    return tf.cond(
        plain & (end == b"\xff\xd9"),
        # Pillow decodes with the accurate transform, too; TensorFlow's default is the fast one.
        lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
        any_photo,
    )


def _draw(pair: tf.Tensor, room: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    corner = tf.random.stateless_uniform((2,), pair, 0, room + 1, tf.int32)
    coin = tf.random.stateless_uniform((), pair + 1) < 0.5
    return corner[0], corner[1], coin


def _finish(layers: dict[str, tf.Tensor], label: tf.Tensor) -> tuple[tf.Tensor, Batch]:
    image = tf.clip_by_value(tf.round(layers.pop("image")), 0, 255)
    if not layers:
        return image, label
    return image, {"label": label} | {name: layer[..., 0] for name, layer in layers.items()}

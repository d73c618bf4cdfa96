"""tf.data pipelines: the benchmark's training and evaluation geometry.

Training: resize to 256 x 256 regardless of the aspect ratio, random 224 x 224 crop, horizontal
flip. Evaluation: straight resize to 224 x 224. Both bilinear with antialiasing, as Pillow does it
to a grey level or two (Choe et al., CVPR 2020). Images stay RGB in [0, 255]; models do their own
preprocessing.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from fcam_tf.data.check import broken_photos
from fcam_tf.data.parts import Parts
from fcam_tf.data.plain_jpeg import is_plain_jpeg
from fcam_tf.data.split import BrokenPhotoError, Split

_BROKEN = "the photo is broken"
_AHEAD = 2  # batches that are ready before they are asked for
Batch: TypeAlias = tf.Tensor | dict[str, tf.Tensor]


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
    parts: Parts | None = None,
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
        cams: (n, h, w) stored maps in the order of the split, which may lie in a file
            (``numpy.memmap``); each is read with its photo, resized bilinearly to ``resize``, and
            then cropped and flipped.
        with_masks: whether to give masks, or filled boxes where there are none.
        augment: what else changes each batch, given images, labels and two integers to draw from.
        seed: of order, crops, flips and ``augment``.
        first_epoch: None gives one epoch at each iteration. A number gives epoch after epoch
            without end, from that one on, each the same whichever came first: with
            ``fit(steps_per_epoch=...)`` training that was interrupted goes on as it would have.
        parts: give these parts of each batch, one after the other, instead of the batch. Only
            their photos are read, unless ``augment`` needs all of a batch.

    Returns:
        Batches (image, label), or (image, {"label", "cam", "mask"}) where CAMs or masks were asked
        for: image (B, crop, crop, 3) float32 in [0, 255], label (B,) int64, cam (B, crop, crop)
        float32, mask (B, crop, crop) uint8 with 1 object, 0 background, 255 ignored.

    Raises:
        ValueError: for sizes that do not fit, an empty split, maps of another number or a split
            without masks and boxes.
    """
    if not 0 < crop <= resize:
        raise ValueError(
            f"`crop` must be in [1, {resize}], from one pixel to `resize`. Received: {crop}."
        )
    maps = None if cams is None else _one_for_each(split, cams)
    columns = _columns(split, with_masks=with_masks)

    def load(index: tf.Tensor, epoch: tf.Tensor) -> tuple[tf.Tensor, Batch]:
        element = {name: tf.gather(column, index) for name, column in columns.items()}
        layers = _read(split, element, (resize, resize), maps, with_masks=with_masks)
        pair = tf.stack([seed * len(split) + index, epoch])
        top, left = tf.unstack(
            tf.random.stateless_uniform((2,), pair, 0, resize - crop + 1, tf.int32)
        )
        mirrored = tf.random.stateless_uniform((), pair + 1) < 0.5
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
        if parts and augment is None:
            places, sizes = parts.places(len(split), batch_size)
            images = tf.data.Dataset.from_tensor_slices(tf.gather(order, places))
            ours = _mapped(images, lambda index: load(index, epoch))
            return ours.batch(max(sizes)).rebatch(sizes)
        images = tf.data.Dataset.from_tensor_slices(order)
        batches = _mapped(images, lambda index: load(index, epoch)).batch(batch_size)
        if augment is None:
            return batches
        batches = _mapped(
            batches.enumerate(),
            lambda step, batch: augment(
                batch[0], batch[1], tf.stack([seed * len(split) + step, epoch])
            ),
        )
        return batches.flat_map(parts.cut) if parts else batches

    if first_epoch is not None:
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        return untuned(epochs.flat_map(one_epoch).prefetch(_AHEAD))
    epochs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    steps = tf.data.experimental.assert_cardinality(-(-len(split) // batch_size))
    return untuned(epochs.flat_map(one_epoch).apply(steps).prefetch(_AHEAD))


def evaluation_dataset(
    split: Split, *, batch_size: int = 32, size: int | tuple[int, int] = 224
) -> tf.data.Dataset:
    """Batches in the split's order, each image resized straight to one size.

    Args:
        split: what to read.
        batch_size: images in a batch.
        size: side, or (height, width).

    Returns:
        Batches (image, label) as in ``training_dataset``; batch k holds ids[k * batch_size :].

    Raises:
        ValueError: for a size that is not positive, or an empty split.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"`size` must be positive. Received: {size}.")

    def load(element: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Batch]:
        return _finish(_read(split, element, (height, width)), element["label"])

    images = tf.data.Dataset.from_tensor_slices(_columns(split))
    return untuned(_mapped(images, load).batch(batch_size).prefetch(_AHEAD))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a data set without the thread by which TensorFlow tunes those that it reads.

    That thread waits by the wall clock, and who reads waits for it at the end: for days where the
    clock is set back by days (docs/reliability.md). So threads and batches are numbers here, which
    would not be tuned either.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def naming_photos(*splits: Split) -> Iterator[None]:
    """Turns what a data set of these splits raises for a bad photo into a BrokenPhotoError."""
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(rf"{_BROKEN}\W+([0-9a-f]+)", error.message):
            raise BrokenPhotoError(os.fsdecode(bytes.fromhex(found[1]))) from None
        if "JPEG" in error.message:  # TensorFlow does not say in which file
            for split in splits:
                for problem in broken_photos(split, decode=True):
                    raise BrokenPhotoError(str(problem)) from None
        raise


def _decode_jpeg(path: tf.Tensor) -> tf.Tensor:
    # Files that were cut short do not come here. Without `try_recover_truncated` TensorFlow refuses
    # more damage than Pillow; with it, it gives Pillow's pixels.
    return tf.io.decode_jpeg(
        tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE", try_recover_truncated=True
    )


def _mapped(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=os.cpu_count() or 1, deterministic=True)


def _one_for_each(split: Split, cams: ArrayLike) -> NDArray:
    array = np.asarray(cams)  # copies nothing of a file
    if array.ndim != 3 or len(array) != len(split):
        raise ValueError(
            f"`cams` must have shape ({len(split)}, h, w), one map for each image. "
            f"Received: {array.shape}."
        )
    return array


def _columns(split: Split, *, with_masks: bool = False) -> dict[str, tf.Tensor]:
    if len(split) == 0:
        raise ValueError(f"Split {split.name!r} is empty.")
    if with_masks and split.masks is None and split.boxes is None:
        raise ValueError(f"Split {split.name!r} has no masks and no boxes. Leave out `with_masks`.")
    columns = {
        "path": [os.fsencode(path) for path in split.paths],
        # One after the other: threads would take four times as long to wait for each other.
        "plain": [is_plain_jpeg(path, upright=split.upright) for path in split.paths],
        "label": split.labels,
        "index": np.arange(len(split)),
    }
    with tf.device("CPU"):
        return {name: tf.constant(column) for name, column in columns.items()}


def _read(
    split: Split,
    element: dict[str, tf.Tensor],
    size: tuple[int, int],
    cams: NDArray | None = None,
    *,
    with_masks: bool = False,
) -> dict[str, tf.Tensor]:
    """Reads what is asked of one image as (height, width, channels) layers of one size."""
    # TensorFlow is the faster reader of plain JPEGs and gives the pixels of Pillow, which decodes
    # with the accurate transform, too.
    image = tf.cond(
        element["plain"],
        lambda: _decode_jpeg(element["path"]),
        lambda: _in_python(split.read_pixels, element["index"], (1, 1, 3)),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    # By TensorFlow: Pillow lets no other thread work while it resizes.
    layers = {"image": tf.image.resize(image, size, method="bilinear", antialias=True)}
    if cams is not None:
        one = [element["index"]]
        cam = tf.numpy_function(lambda i: np.float32(cams[i]), one, tf.float32, stateful=False)
        cam = tf.ensure_shape(cam, cams.shape[1:])[..., None]
        layers["cam"] = tf.image.resize(cam, size, method="bilinear")
    if with_masks:
        mask = _in_python(split.read_object, element["index"], (1, 1))
        mask = tf.ensure_shape(mask, (None, None))[..., None]
        layers["mask"] = tf.image.resize(mask, size, method="nearest")
    return layers


def _in_python(
    read: Callable[[int], NDArray[np.uint8]], index: tf.Tensor, nothing: tuple[int, ...]
) -> tf.Tensor:
    """Reads by a Python function, what it raises becoming an error of `naming_photos`.

    An exception would come with its traceback, in the error and on stderr; as hexadecimal digits
    its text passes through TensorFlow unchanged.
    """

    @tf.autograph.experimental.do_not_convert
    def call(number: Any) -> tuple[NDArray[np.uint8], bytes]:
        try:
            return read(int(number)), b""
        except (BrokenPhotoError, ValueError) as error:
            return np.zeros(nothing, np.uint8), os.fsencode(str(error)).hex().encode()

    found, broken = tf.numpy_function(call, [index], [tf.uint8, tf.string], stateful=False)
    whole = tf.debugging.Assert(tf.strings.length(broken) == 0, [_BROKEN, broken])
    with tf.control_dependencies([whole]):
        return tf.identity(found)


def _finish(layers: dict[str, tf.Tensor], label: tf.Tensor) -> tuple[tf.Tensor, Batch]:
    image = tf.clip_by_value(tf.round(layers.pop("image")), 0, 255)
    if not layers:
        return image, label
    return image, {"label": label} | {name: layer[..., 0] for name, layer in layers.items()}

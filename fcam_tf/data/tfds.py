"""TensorFlow Datasets with boxes or masks, brought into the benchmark's layout.

Writing a folder once means that training, evaluation and ``check_dataset`` need to know one kind
of data set only. The two builders with object masks that WSOL work uses are supported:
``caltech_birds2011`` and ``oxford_iiit_pet``.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from fcam_tf.atomic import new_folder
from fcam_tf.data.wsol import Image, write_split
from fcam_tf.masks import NO_BOX, box_of
from fcam_tf.names import unknown


def write_tfds(
    name: str,
    root: str | Path,
    *,
    splits: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
) -> Path:
    """Writes a TensorFlow data set as a folder for ``load_wsol``, with boxes and masks.

    Boxes of CUB are x, y, x + width, y + height cut to the image, as in the benchmark's metadata;
    those of the pets go around object and border, and the border is not counted in masks.

    Args:
        name: "caltech_birds2011" or "oxford_iiit_pet", with or without a leading "tfds:".
        root: folder to make; must not exist. It appears only when it is complete.
        splits: which of the data set's splits; default all.
        data_dir: where TensorFlow Datasets keeps prepared data; None for its default.
        download: whether to download and prepare what is missing.

    Raises:
        ValueError: for another data set or an unknown split.
        FileExistsError: if ``root`` exists.
        ImportError: if tensorflow_datasets is not installed, or not with what it needs.
    """
    name = name.removeprefix("tfds:")
    if name not in _BUILDERS:
        raise ValueError(unknown(_BUILDERS, name, "name"))
    root = Path(root)
    with new_folder(root) as unfinished:
        import tensorflow_datasets as tfds  # noqa: PLC0415  (slow, and optional)

        if not hasattr(tfds, "builder"):  # it prints why, and is imported all the same
            raise ImportError(
                "tensorflow_datasets is installed but cannot be used, mostly because "
                "tensorflow-metadata is too new for TensorFlow 2.19: "
                "pip install 'tensorflow-metadata<1.17'"
            )
        builder = tfds.builder(name, data_dir=data_dir)
        if download:
            builder.download_and_prepare()
        chosen = list(builder.info.splits) if splits is None else list(splits)
        missing = sorted(set(chosen) - set(builder.info.splits))
        if missing or not chosen:
            prepared = ", ".join(builder.info.splits) or "none until download=True prepares it"
            raise ValueError(
                f"`splits` must be splits of {name}. Received: {', '.join(missing) or 'none'}. "
                f"Available: {prepared}."
            )

        names = list(builder.info.features["label"].names)
        for split in chosen:
            decoders = {"image": tfds.decode.SkipDecoding()}
            examples = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            images = _images(examples.as_numpy_iterator(), _BUILDERS[name], names)
            write_split(unfinished, split, images)
        (unfinished / "class_names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def _images(examples: Any, read: Callable[..., Image], names: list[str]) -> Iterator[Image]:
    """Yields images as they are stored, in a folder for each class; notes better class names."""
    for example in examples:
        with PIL.Image.open(io.BytesIO(example["image"])) as opened:
            image = read(example, *opened.size)
        if "label_name" in example:
            names[image.label] = example["label_name"].decode()
        yield image


def _image(example: dict[str, Any], file: bytes, size: tuple[int, int], **truth: Any) -> Image:
    label = int(example["label"])
    name = f"{label:03d}/{Path(file.decode()).name}"
    return Image(name, label, example["image"], size, **truth)


def _birds(example: dict[str, Any], width: int, height: int) -> Image:
    """Masks hold the annotators' agreement; half of them make a pixel object."""
    y0, x0, y1, x1 = np.rint(example["bbox"] * [height, width, height, width]).astype(int).tolist()
    return _image(
        example,
        example["image/filename"],
        (width, height),
        boxes=[(x0, y0, min(x1, width - 1), min(y1, height - 1))],
        masks=[example["segmentation_mask"][..., 0] >= 128],
    )


def _pets(example: dict[str, Any], width: int, height: int) -> Image:
    """The trimap is 1 on the pet, 2 on the background, 3 on the border between them."""
    trimap, file = example["segmentation_mask"][..., 0], example["file_name"]
    box = box_of(trimap != 2)
    if box == NO_BOX or trimap.shape != (height, width):
        raise ValueError(
            f"{file.decode()} has no usable mask: shape {trimap.shape} for {(height, width)}."
        )
    return _image(
        example, file, (width, height), boxes=[box], masks=[trimap == 1], ignore=trimap == 3
    )


_BUILDERS: dict[str, Callable[[dict[str, Any], int, int], Image]] = {
    "caltech_birds2011": _birds,
    "oxford_iiit_pet": _pets,
}

"""TensorFlow Datasets with boxes or masks, brought into the benchmark's layout.

Writing a folder once means that training, evaluation and ``check_dataset`` know a single kind of
data set. Supported are the two builders with object masks that WSOL work uses:
``caltech_birds2011`` and ``oxford_iiit_pet``.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcam_tf.atomic import new_folder
from fcam_tf.data.wsol import METADATA, write_metadata
from fcam_tf.masks import NO_BOX, box_of


class Truth(NamedTuple):
    """Where the object is: inclusive box, mask, and what not to count (or None)."""

    file: str
    class_name: str | None
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    ignore: NDArray[np.bool_] | None


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
        download: whether to download and prepare what is not there.

    Returns:
        The folder.

    Raises:
        ValueError: for another data set or an unknown split.
        FileExistsError: if ``root`` exists.
        ImportError: if tensorflow_datasets is not installed.
    """
    name = name.removeprefix("tfds:")
    if name not in _TRUTHS:
        raise ValueError(f"name must be one of {', '.join(_TRUTHS)}, got {name!r}")
    root = Path(root)
    with new_folder(root) as unfinished:
        import tensorflow_datasets as tfds  # noqa: PLC0415  (slow, and optional)

        builder = tfds.builder(name, data_dir=data_dir)
        if download:
            builder.download_and_prepare()
        chosen = list(builder.info.splits) if splits is None else list(splits)
        unknown = sorted(set(chosen) - set(builder.info.splits))
        if unknown or not chosen:
            known = (
                ", ".join(builder.info.splits) or "none; prepare the data set with download=True"
            )
            raise ValueError(f"splits {unknown or chosen} not found; prepared are: {known}")

        names = list(builder.info.features["label"].names)
        for split in chosen:
            decoders = {"image": tfds.decode.SkipDecoding()}
            examples = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            _write_split(unfinished, split, examples.as_numpy_iterator(), _TRUTHS[name], names)
        (unfinished / "class_names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def _write_split(
    root: Path, split: str, examples: Any, read_truth: Callable, names: list[str]
) -> None:
    lines: dict[str, list[str]] = {name: [] for name in METADATA}
    for example in examples:
        content, label = example["image"], int(example["label"])
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
        truth = read_truth(example, width, height)
        if truth.class_name:
            names[label] = truth.class_name
        image_id, mask_id = f"{label:03d}/{truth.file}", f"{label:03d}/{Path(truth.file).stem}.png"
        _save(root / "images" / image_id, content)
        _save(root / "masks" / mask_id, truth.mask)
        if truth.ignore is not None:
            _save(root / "ignore" / mask_id, truth.ignore)
        lines["image_ids"].append(image_id)
        lines["class_labels"].append(f"{image_id},{label}")
        lines["image_sizes"].append(f"{image_id},{width},{height}")
        lines["localization"].append(",".join(map(str, (image_id, *truth.box))))
        ignore_id = "" if truth.ignore is None else mask_id
        lines["localization_masks"].append(f"{image_id},{mask_id},{ignore_id}")
    write_metadata(root, split, lines)


def _save(file: Path, content: bytes | NDArray[np.bool_]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        Image.fromarray(content.astype(np.uint8) * 255).save(file)


def _birds(example: dict[str, Any], width: int, height: int) -> Truth:
    """Masks hold the annotators' agreement; half of them make a pixel object."""
    y0, x0, y1, x1 = np.rint(example["bbox"] * [height, width, height, width]).astype(int).tolist()
    return Truth(
        file=Path(example["image/filename"].decode()).name,
        class_name=example["label_name"].decode(),
        box=(x0, y0, min(x1, width - 1), min(y1, height - 1)),
        mask=example["segmentation_mask"][..., 0] >= 128,
        ignore=None,
    )


def _pets(example: dict[str, Any], width: int, height: int) -> Truth:
    """The trimap is 1 on the pet, 2 on the background, 3 on the border between them."""
    trimap = example["segmentation_mask"][..., 0]
    box = box_of(trimap != 2)
    file = Path(example["file_name"].decode()).name
    if box == NO_BOX or trimap.shape != (height, width):
        raise ValueError(f"{file} has no usable mask: {trimap.shape} for {(height, width)}")
    return Truth(
        file=file,
        class_name=None,
        box=box,
        mask=trimap == 1,
        ignore=trimap == 3,
    )


_TRUTHS: dict[str, Callable[[dict[str, Any], int, int], Truth]] = {
    "caltech_birds2011": _birds,
    "oxford_iiit_pet": _pets,
}

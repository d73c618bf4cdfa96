"""Where the objects of a split are, in the frame in which maps are scored."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.data.split import Split
from fcam_tf.metrics import join_masks, resize_boxes


class Truth(NamedTuple):
    """What is known of one image.

    Attributes:
        boxes: (n, 4) int64 x0, y0, x1, y1 in the frame, or None.
        mask: (frame, frame) uint8, 1 object, 0 background, 255 ignored, or None.
    """

    boxes: NDArray[np.int64] | None
    mask: NDArray[np.uint8] | None


def check_split(split: Split) -> None:
    """Finds out before the first image is scored whether all can be.

    Raises:
        ValueError: if the split has neither boxes nor masks, or an image of it lacks them.
    """
    if split.boxes is None and split.masks is None:
        raise ValueError(
            f"split {split.name!r} has neither boxes nor masks to score against: its "
            "localization.txt is missing or empty"
        )
    for kind, truths in (("box", split.boxes), ("mask", split.masks)):
        if truths is None:
            continue
        without = [name for name, truth in zip(split.ids, truths, strict=True) if not len(truth)]
        if without:
            shown = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
            raise ValueError(
                f"{len(without)} of {len(split)} images of split {split.name!r} have no {kind}: "
                f"{shown}. Take them out of image_ids.txt, or add their lines"
            )


def read_truth(split: Split, index: int, frame: int) -> Truth:
    """Brings an image's boxes and masks into a square frame as the benchmark does.

    Args:
        split: see ``data.Split``.
        index: of the image.
        frame: side of the frame in pixels.

    Raises:
        ValueError, OSError: if its truth cannot be used, naming the image.
    """
    try:
        boxes, mask = None, None
        if split.boxes is not None:
            boxes = read_boxes(split, index, frame)
        if split.masks is not None:
            mask = join_masks(*split.read_masks(index), size=(frame, frame))
    except ValueError as error:
        raise ValueError(f"truth of {split.ids[index]}: {error}") from None
    return Truth(boxes, mask)


def read_boxes(split: Split, index: int, frame: int) -> NDArray[np.int64]:
    """The boxes of ``read_truth`` alone, which needs no file but where sizes are not known."""
    return resize_boxes(split.boxes[index], split.size(index), (frame, frame))

"""Few-shot full supervision: the split with masks or boxes trains, instead of only choosing."""

from __future__ import annotations

import numpy as np

from fcam_tf.data import Split


def divide(split: Split) -> tuple[Split, Split]:
    """Divide a split class by class into what trains and what chooses the best epoch.

    Choe et al. (PAMI 2022, section 6) give four fifths of the benchmark's val split to training.
    The first images of each class train, at least one, so the division is always the same.

    Args:
        split: with masks or boxes.

    Returns:
        Both parts, images in the order of the split.

    Raises:
        ValueError: the split has neither masks nor boxes, or is too small to be divided.
    """
    if split.masks is None and split.boxes is None:
        raise ValueError(f"split {split.name!r} has no masks and no boxes to learn from")
    trains = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        trains[members[: max(1, round(0.8 * len(members)))]] = True
    if trains.all():
        raise ValueError(
            f"split {split.name!r} has too few images of each class, and nothing is left to choose "
            "by: add some, or raise val_per_class; of three, two train"
        )
    return split.subset(np.flatnonzero(trains)), split.subset(np.flatnonzero(~trains))

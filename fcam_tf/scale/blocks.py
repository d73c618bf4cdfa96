"""Stored maps of a split by several workers: which photos go together, and one worker's work.

All write to the one file that a training reads. What no worker may do is made by the process that
has the folder: it claims it, makes the file and says what is missing.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fcam_tf.claim import differences
from fcam_tf.identity import stamps
from fcam_tf.training.cam_file import fit, missing, write
from fcam_tf.training.cam_store import ABOUT, BATCH, MAPS

if TYPE_CHECKING:
    from fcam_tf.data import Split
    from fcam_tf.training.cam_store import Teacher


@dataclasses.dataclass(frozen=True)
class Block:
    """Photos of a split whose maps are made together.

    Attributes:
        rows: their numbers in the split.
        paths: their files.
        labels: the classes that are asked for.
        stamps: of the files, see `fcam_tf.identity.stamps`.
    """

    rows: tuple[int, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    stamps: tuple[int, ...]

    @property
    def name(self) -> str:
        """What tells it from others of the split."""
        return f"{self.rows[0]}-{self.rows[-1]}"

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return (json.dumps(dataclasses.asdict(self)) + "\n").encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read what `line` gives."""
        return cls(**{name: tuple(values) for name, values in json.loads(line).items()})


def plan_blocks(split: Split, folder: Path, size: int = 256) -> list[Block]:
    """Divide the photos that have no map in a folder, as their files are now; see `divide`."""
    found = stamps(split)
    return divide(split, found, missing(folder / MAPS, found), size)


def divide(
    split: Split, found: NDArray[np.int64], todo: NDArray[np.int64], size: int
) -> list[Block]:
    """Divide the photos without a map into blocks.

    The batches are those of one machine that begins with the first photo, whatever is missing:
    the last bits of a map may depend on what else is in its batch. So a batch of which one map is
    missing is made as a whole.

    Args:
        split: all photos.
        found: (n,) their stamps.
        todo: (m,) numbers of those without a map.
        size: photos in a block, a multiple of `BATCH`.

    Raises:
        ValueError: ``size`` is not.
    """
    if size % BATCH:
        raise ValueError(
            f"`shard_size` must be a multiple of {BATCH}, the photos of a batch. Received: {size}."
        )
    among = np.isin(np.arange(len(split)) // BATCH, todo // BATCH)
    rows = np.flatnonzero(among)
    parts = (rows[start : start + size] for start in range(0, len(rows), size))
    return [
        Block(
            tuple(part.tolist()),
            tuple(str(split.paths[row]) for row in part),
            tuple(split.labels[part].tolist()),
            tuple(found[part].tolist()),
        )
        for part in parts
    ]


def store_block(
    block: Block, teacher: Teacher, like: Split, folder: Path, settings: dict[str, Any]
) -> int:
    """Make the maps of a block, and write those of each batch to the file as they come.

    Args:
        block: the photos.
        teacher: what makes the maps.
        like: the split, perhaps without its photos.
        folder: of the maps, with a file of the right shape.
        settings: what the folder is of.

    Returns:
        How many maps were stored.

    Raises:
        BrokenPhotoError: a photo cannot be read.
        OSError: the folder is of something else now, or cannot be written to.
    """
    paths, labels = tuple(map(Path, block.paths)), np.array(block.labels, np.int64)
    split = dataclasses.replace(like, ids=block.paths, paths=paths, labels=labels)
    rows, marks = np.array(block.rows), np.array(block.stamps, np.int64)
    done = 0
    for maps in teacher.batches(split):
        # Who started this may be gone, and another may have begun anew.
        if changed := differences(folder / ABOUT, settings):
            raise OSError(f"{folder} is of other maps now: {', '.join(changed)}")
        part = slice(done, done + len(maps))
        write(folder / MAPS, rows[part], marks[part], maps)
        done += len(maps)
    return done


def make_file(teacher: Teacher, number: int, folder: Path) -> None:
    """Make the file for the maps of so many photos, if there is none.

    Raises:
        OSError: it cannot be made.
    """
    black = np.zeros((1, teacher.size, teacher.size, 3), np.float32)
    fit(folder / MAPS, number, teacher.maps(black, np.zeros(1, np.int64)).shape[1:])

"""One split of a data set: image files, labels and, where known, where the objects are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcam_tf.masks import join_masks
from fcam_tf.names import printable
from fcam_tf.photos import PhotoError, read_header, read_mask, read_pixels


class Problem(NamedTuple):
    """Something wrong in a data set, and where.

    Attributes:
        file: the file that says it, or that is missing or broken.
        line: line number in that file, 1-based; 0 where it is the file as a whole.
        message: what is wrong.
    """

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        """``file:line: message``, as compilers print it."""
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return printable(f"{place}: {self.message}")


class DataError(ValueError):
    """A data set that cannot be read as it is.

    Attributes:
        problems: everything that was found.
    """

    def __init__(self, problems: list[Problem], remedy: str = "") -> None:
        self.problems = problems
        shown = "\n".join(f"  {problem}" for problem in problems[:10])
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        remedy = f"; {remedy}" if remedy else ""
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        super().__init__(f"{count} in the data set{remedy}:\n{shown}{more}")


class BrokenPhotoError(OSError):
    """A photo or mask of a split cannot be read; the message names it and says why, in one line."""


@dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order.

    Attributes:
        name: e.g. "train".
        ids: names of the images, unique in the split, each one printable line.
        paths: their files.
        labels: (n,) int64 class of each.
        class_names: name of each class; its length is the number of classes.
        sizes: (n, 2) int64 width and height, or None if not given.
        boxes: for each image an (m, 4) int64 array of inclusive x0, y0, x1, y1 in the image's own
            pixels, or None if the split has no boxes.
        masks: for each image the files of its instance masks, or None if the split has none.
        ignores: for each image the file of the mask of what not to count, or None.
        upright: whether photos are read as a viewer shows them; else as they are stored, without
            their EXIF orientation, as the WSOL benchmark does, whose boxes are in that frame.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    sizes: NDArray[np.int64] | None = None
    boxes: tuple[NDArray[np.int64], ...] | None = None
    masks: tuple[tuple[Path, ...], ...] | None = None
    ignores: tuple[Path | None, ...] = field(default=())
    upright: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> "Split":
        """The split with only some of its images, in the order given."""

        def chosen(column: Any) -> Any:
            return column and tuple(column[i] for i in indices)

        return replace(
            self,
            ids=chosen(self.ids),
            paths=chosen(self.paths),
            labels=self.labels[indices],
            sizes=None if self.sizes is None else self.sizes[indices],
            boxes=chosen(self.boxes),
            masks=chosen(self.masks),
            ignores=chosen(self.ignores),
        )

    def drawn(self, per_class: int) -> "Split":
        """The split with at most so many images of each class, in the order that they are in.

        Drawn without replacement, as the benchmark does (``num_val_sample_per_class``), but always
        the same ones, so that trainings by them compare; of a class that has fewer, all.
        """
        rng = np.random.default_rng(0)
        members = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        chosen = [rng.permutation(indices)[:per_class] for indices in members]
        return self.subset(np.sort(np.concatenate(chosen)))

    def has_classes(self, number: int | None, names: Sequence[str] | None) -> bool:
        """Tells whether a model's classes are those of the data set.

        Their number decides, and the names where both sides have some; case and underscores do
        not count.

        Args:
            number: of the model's classes.
            names: of these, or None if unknown.
        """
        if number != len(self.class_names):
            return False
        if names is None or all(name.isdecimal() for name in self.class_names):
            return True
        return list(map(_plain, names)) == list(map(_plain, self.class_names))

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) of an image as stored, from the metadata or else the file's header."""
        if self.sizes is not None:
            width, height = self.sizes[index]
            return int(width), int(height)
        return _named(read_header, self.paths[index])[:2]

    def read_pixels(self, index: int) -> NDArray[np.uint8]:
        """Reads an image as training and evaluation see it.

        Returns:
            (h, w, 3) uint8 RGB, see ``photos.read_pixels``.

        Raises:
            BrokenPhotoError: it cannot be read.
        """
        return _named(read_pixels, self.paths[index], upright=self.upright)

    def read_masks(self, index: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8] | None]:
        """Reads an image's instance masks and its ignore mask.

        Returns:
            (h, w) uint8 grey levels of each mask, any non-zero value being inside, and the
            ignore mask or None.

        Raises:
            ValueError: if the split has no masks.
            BrokenPhotoError: one cannot be read.
        """
        if self.masks is None:
            raise ValueError(f"split {self.name!r} has no masks")
        ignore = self.ignores[index]
        return [_named(read_mask, path) for path in self.masks[index]], (
            None if ignore is None else _named(read_mask, ignore)
        )

    def read_object(self, index: int) -> NDArray[np.uint8]:
        """Reads where the object is: from its masks, or its boxes filled where there are none.

        Returns:
            (h, w) uint8: 1 object, 0 background, 255 ignored.

        Raises:
            ValueError: if the split has neither, or the image has no mask.
            BrokenPhotoError: a mask cannot be read.
        """
        if self.masks is not None:
            masks, ignore = self.read_masks(index)
            if not masks:
                raise ValueError(f"{self.ids[index]} has no mask; run check_dataset")
            return join_masks(masks, ignore)
        if self.boxes is None:
            raise ValueError(f"split {self.name!r} has no masks and no boxes")
        width, height = self.size(index)
        found = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in self.boxes[index]:
            found[y0 : y1 + 1, x0 : x1 + 1] = 1
        return found


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


def _named(read: Callable[..., Any], path: Path, **options: Any) -> Any:
    try:
        return read(path, **options)
    except PhotoError as error:
        raise BrokenPhotoError(printable(f"{path}: {error}")) from None

"""Results on disk as they come: one file for every few images, each there as a whole or not at all.

``OUT/parts/<split>-<first>-<last>.npz`` holds the scores of consecutive images of a split. What is
there need not be computed again, whatever ended the program that wrote it.
"""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcam_tf.atomic import write_atomically
from fcam_tf.evaluation.scores import Scored
from fcam_tf.metrics import MEASURES

FOLDER = "parts"
_EXPLANATION = "explanation: "
_COLUMNS = ("rank", "predicted", "confidence", "levels", "otsu", "activation")


@dataclasses.dataclass(frozen=True)
class Parts:
    """The results of a split in an output folder."""

    out: Path
    split: str
    count: int
    # (count,) int64 that change when an image must be scored again, see `identity.stamps`; results
    # with others do not count. None takes all as they are.
    stamps: NDArray[np.int64] | None = None
    # Of an image's bytes, see `identity.contents`; equal ones make up for another stamp, but for 0.
    content: Callable[[int], int] | None = None

    def todo(self) -> list[int]:
        """Indices of the images that have no results yet, or none as they are now."""
        done = {i for part in self._files() if self._holds(*part) for i in range(*part[:2])}
        return [i for i in range(self.count) if i not in done]

    def remove_changed(self) -> None:
        """Remove the results of images that have changed since."""
        for part in self._files():
            if not self._holds(*part):
                part[2].unlink()

    def save(self, scored: Sequence[Scored]) -> None:
        """Writes the results of consecutive images, as a whole or not at all."""
        columns: dict[str, Any] = {
            name: [getattr(item, name) for item in scored] for name in _COLUMNS
        }
        columns["measures"] = list(MEASURES)
        for name in scored[0].explanation:
            columns[_EXPLANATION + name] = [item.explanation[name] for item in scored]
        if scored[0].boxes is not None:
            columns["boxes"] = [item.boxes for item in scored]
        for name in scored[0].kept:
            values = [item.kept[name] for item in scored]
            columns[name] = np.concatenate(values, axis=1)
            columns[f"{name} widths"] = [value.shape[1] for value in values]
        first, last = scored[0].index, scored[-1].index
        if self.stamps is not None:
            columns["stamp"] = self.stamps[first : last + 1]
        if self.content is not None:
            columns["content"] = [self.content(index) for index in range(first, last + 1)]
        folder = self.out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{self.split}-{first:07d}-{last:07d}.npz", columns)

    @property
    def stale(self) -> list[tuple[int, int, Path]]:
        """The files with other stamps than the images have today."""
        return [part for part in self._files() if not self._has_stamps(*part)]

    def renew(self) -> None:
        """Note the stamps of today, for images that are known by their bytes."""
        if self.stamps is None:
            return
        for start, stop, file in self.stale:
            with np.load(file) as archive:
                columns = dict(archive)
            _write(file, columns | {"stamp": self.stamps[start:stop]})

    def __iter__(self) -> Iterator[Scored]:
        """Yields all images' results in order, a part in memory at a time."""
        for start, _, file in self._files():
            yield from _read(file, start)

    def read(self, indices: Sequence[int]) -> dict[int, Scored]:
        """The results of a few images by index."""
        found: dict[int, Scored] = {}
        for start, stop, file in self._files():
            if any(start <= i < stop for i in indices):
                found |= {s.index: s for s in _read(file, start) if s.index in indices}
        return found

    def _holds(self, start: int, stop: int, file: Path) -> bool:
        if self.stamps is None:
            return True
        try:
            with np.load(file) as archive:
                if archive["measures"].tolist() != list(MEASURES) or stop > self.count:
                    return False
                if np.array_equal(archive["stamp"], self.stamps[start:stop]):
                    return True
                if self.content is None:
                    return False
                known = archive["content"].tolist()
                return all(known) and known == [self.content(i) for i in range(start, stop)]
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile):
            return False

    def _has_stamps(self, start: int, stop: int, file: Path) -> bool:
        if self.stamps is None:
            return True
        with np.load(file) as archive:
            return np.array_equal(archive["stamp"], self.stamps[start:stop])

    def _files(self) -> list[tuple[int, int, Path]]:
        found = []
        for file in (self.out / FOLDER).glob("*.npz"):
            match = re.fullmatch(r"(.+)-(\d{7})-(\d{7})", file.stem)
            if match and match[1] == self.split:
                found.append((int(match[2]), int(match[3]) + 1, file))
        return sorted(found)


def _write(file: Path, columns: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    write_atomically(file, buffer.getvalue())


def _read(file: Path, first: int) -> Iterator[Scored]:
    with np.load(file) as archive:
        columns = {name: a.tolist() if a.ndim == 1 else a for name, a in archive.items()}
    kept = {
        name: np.split(columns[name], np.cumsum(columns[f"{name} widths"])[:-1], axis=1)
        for name in MEASURES
        if name in columns
    }
    for place in range(len(columns["levels"])):
        yield Scored(
            index=first + place,
            **{name: columns[name][place] for name in _COLUMNS},
            boxes=columns["boxes"][place] if "boxes" in columns else None,
            kept={name: values[place] for name, values in kept.items()},
            explanation={
                name.removeprefix(_EXPLANATION): values[place]
                for name, values in columns.items()
                if name.startswith(_EXPLANATION)
            },
        )

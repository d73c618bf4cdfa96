"""One shard's work: its photos through the model, and what comes out as files."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcam_tf.names import printable
from fcam_tf.predict.inputs import Failure, Source
from fcam_tf.predict.outputs import LocalizeSettings
from fcam_tf.predict.stream import localize_stream
from fcam_tf.scale.inputs import Shard
from fcam_tf.scale.reading import read_photos
from fcam_tf.scale.rows import as_parquet, rows_of
from fcam_tf.scale.store import FAILURES, ROWS, Store

if TYPE_CHECKING:
    import numpy as np

    from fcam_tf.localization import Localization
    from fcam_tf.photos import Photo
    from fcam_tf.predict.localizer import Localizer


@dataclasses.dataclass(frozen=True)
class Localized:
    """What became of a shard.

    Attributes:
        name: of the shard.
        photos: how many were localised.
        rows: the Parquet file.
        failures: why others were not.
    """

    name: str
    photos: int
    rows: bytes
    failures: tuple[Failure, ...]

    def write(self, store: Store) -> None:
        """Write the files; that of the rows comes last, and its being there means all is done.

        Raises:
            OSError: one cannot be written.
        """
        lines = [json.dumps({"file": f.file, "reason": f.reason}) + "\n" for f in self.failures]
        if lines:
            store.write(self.name + FAILURES, "".join(lines).encode())
        store.write(self.name + ROWS, self.rows)


def localize_shard(
    shard: Shard,
    localizer: Localizer,
    labels: Sequence[int],
    settings: LocalizeSettings,
    *,
    batch_size: int = 8,
    maps: bool = True,
) -> Localized:
    """Localise the photos of a shard as `fcam localize` does, in one order.

    Batches are those of the shard, so that its results do not depend on what else is done.

    Args:
        shard: the photos.
        localizer: model, method and threshold.
        labels: the classes that ``settings`` name.
        settings: the rest of what is wanted; ``files`` is not looked at.
        batch_size: photos for one call of the model.
        maps: whether the rows hold heat maps.

    Raises:
        ValueError: the model's answers are not finite.
        OSError: a file cannot be had now; a photo that is missing or damaged is no such error.
    """
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    count = 0
    with tempfile.TemporaryDirectory(prefix="fcam-") as folder, warnings.catch_warnings():
        # Pillow's remarks on odd metadata of photos that it reads all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        names: dict[str, str] = {}

        def sources() -> Iterator[Source]:
            for item in read_photos(shard, Path(folder)):
                if isinstance(item, Failure):
                    failures.append(item)
                else:
                    name, path = item
                    names[str(path)] = name
                    yield Source(path, str(path))

        def write(
            path: str, photo: Photo, found: Localization, _: np.ndarray | None
        ) -> dict[str, Any]:
            if Path(path).is_relative_to(folder):  # the disk may not hold all of a shard
                Path(path).unlink()
            return {"rows": rows_of(photo, found, settings, localizer.class_names, maps=maps)}

        results = localize_stream(
            sources(),
            localizer,
            write,
            labels=labels,
            top=settings.top,
            view=False,
            batch_size=batch_size,
        )
        for result in results:
            if isinstance(result, Failure):
                failures.append(Failure(names[result.file], result.reason))
                continue
            count += 1
            file = names[result["file"]].encode("utf-8", "replace").decode()
            rows += [{"file": file, **row} for row in result["rows"]]
    failures.sort(key=lambda failure: failure.file)
    return Localized(shard.name, count, as_parquet(rows), tuple(failures))


def told(failure: Failure) -> str:
    """Return a failure as a line for people."""
    return f"{printable(failure.file)}: {failure.reason}"

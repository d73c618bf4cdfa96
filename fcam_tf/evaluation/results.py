"""What an evaluation leaves in its folder: settings, metrics, and a row for each image."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from fcam_tf.atomic import write_atomically
from fcam_tf.data import load
from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import Parts
from fcam_tf.evaluation.rows import Row
from fcam_tf.models.saved import BEST

SETTINGS, METRICS, ROWS = "settings.json", "metrics.json", "results.csv"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the results; kept in OUT/settings.json.

    Attributes:
        model: file or name of the model, empty without one.
        model_sha256: of the file, empty without one.
        method: how maps are made; "maps" for files.
        layer: names of the layers that are weighed, with commas; empty without any.
        maps: folder of .npy files, empty without.
        data: the data set.
        split: its split.
        truth_sha256: of ids, labels, sizes, boxes and names of masks of the splits.
        threshold_split: where thresholds are chosen for the figures without an oracle, or empty.
        labels: "truth" or "predicted".
    """

    method: str
    data: str
    split: str
    model: str = ""
    model_sha256: str = ""
    layer: str = ""
    maps: str = ""
    threshold_split: str = ""
    labels: str = "truth"
    truth_sha256: str = ""

    @property
    def title(self) -> str:
        """A short name for tables."""
        if self.maps:
            return Path(self.maps).name
        file = Path(self.model)
        name = file.parent.name if file.name == BEST else file.name.removesuffix(".keras")
        layer = f" ({self.layer})" if self.layer else ""
        return " ".join(filter(None, [name, f"{self.method}{layer}"]))


class Run:
    """A finished evaluation.

    Args:
        out: its folder.

    Attributes:
        out: as given.
        settings: what it was made with.
        metrics: what metrics.json holds.
        rows: what results.csv holds, in the order of the split.

    Raises:
        FileNotFoundError: if the folder holds no finished evaluation.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        for name in (SETTINGS, METRICS, ROWS):
            if not (self.out / name).is_file():
                raise FileNotFoundError(
                    f"{self.out} holds no finished evaluation: there is no {name}"
                )
        self.settings = Settings(**json.loads((self.out / SETTINGS).read_text("utf-8")))
        self.metrics: dict[str, Any] = json.loads((self.out / METRICS).read_text("utf-8"))
        text = (self.out / ROWS).read_text("utf-8")
        self.rows = [Row.parse(row) for row in csv.DictReader(io.StringIO(text))]

    @cached_property
    def split(self) -> Split:
        """The images and their truth."""
        return load(self.settings.data, self.settings.split)

    @cached_property
    def parts(self) -> Parts:
        """The images' results at every threshold."""
        return Parts(self.out, self.settings.split, len(self.rows))


def write_rows(out: Path, rows: Iterable[Row]) -> None:
    """Writes results.csv."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Row)])
    writer.writerows(dataclasses.astuple(row) for row in rows)
    write_atomically(out / ROWS, buffer.getvalue().encode())

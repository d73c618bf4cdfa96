"""What an evaluation leaves in its folder: settings, metrics, and a row for each image."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from fcam_tf.claim import SETTINGS, read_settings
from fcam_tf.data import load
from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import Parts
from fcam_tf.evaluation.rows import Row
from fcam_tf.evaluation.sources import SCALINGS
from fcam_tf.identity import BEST
from fcam_tf.metrics import MEASURES
from fcam_tf.names import told

METRICS, ROWS = "metrics.json", "results.csv"
TOP = 5  # the classes of Top-5
# The figures in metrics.json, and what they mean.
HEADLINES = {
    **{name: measure.meaning for name, measure in MEASURES.items() if measure.meaning},
    "Top1Loc": "localised, and the class predicted first",
    "Top5Loc": "localised, and the class among the first five",
    "accuracy": "class predicted first",
}


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """What decides the results; kept in OUT/settings.json.

    Attributes:
        method: how maps are made; "maps" for files.
        data: the data set.
        split: its split.
        model: file or name of the model, for people; another of the same content is the same.
        model_sha256: of the file, in the card of a model of the zoo, or as of
            `identity.model_sha256`; empty without a model.
        layer: names of the layers whose maps are weighted, with commas; empty without any.
        options: more of the method by name, as JSON values, such as ``scales``; see
            ``explain.Explainer``.
        maps: folder of .npy files, empty without.
        threshold_split: where thresholds are chosen for the figures without an oracle, or empty.
        labels: "truth" or "predicted".
        scaling: how coarse maps get into the frame of 224 pixels. "bilinear": min-max at their own
            size, then bilinear, as F-CAM's code does; "bicubic": OpenCV's bicubic, then min-max, as
            the benchmark's code does, see `fcam_tf.metrics.normalize_cam`.
        left_out: names of images that are not looked at, such as broken ones.
        explanation: the ``ExplanationSettings`` by name if explanations are measured, else empty.
        truth_sha256: of ids, labels, sizes, boxes and names of masks of the splits.
    """

    method: str
    data: str
    split: str
    model: str = ""
    model_sha256: str = ""
    layer: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    maps: str = ""
    threshold_split: str = ""
    labels: str = "truth"
    scaling: str = SCALINGS[0]
    left_out: list[str] = dataclasses.field(default_factory=list)
    explanation: dict[str, Any] = dataclasses.field(default_factory=dict)
    truth_sha256: str = ""

    def splits(self) -> dict[str, Split]:
        """The splits by name, the one that is scored first."""
        names = filter(None, [self.split, self.threshold_split])
        found, bad = {name: load(self.data, name) for name in names}, set(self.left_out)
        return {
            name: split.subset([i for i, image in enumerate(split.ids) if image not in bad])
            for name, split in found.items()
        }

    def deciding(self) -> dict[str, Any]:
        """All that decides the results, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "model"}

    @property
    def title(self) -> str:
        """A short name for tables."""
        if self.maps:
            return Path(self.maps).name
        file = Path(self.model)
        name = file.parent.name if file.name == BEST else file.name.removesuffix(".keras")
        scaling = self.scaling if self.scaling != SCALINGS[0] else ""
        how = ", ".join(filter(None, [self.layer, *told(self.options), scaling]))
        return " ".join(filter(None, [name, self.method, how and f"({how})"]))


class StoredEvaluation:
    """A finished evaluation.

    Args:
        out: its folder.

    Attributes:
        out: as given.
        settings: what it was made with.
        notes: what settings.json holds besides.
        metrics: what metrics.json holds.
        rows: what results.csv holds, in the order of the split.

    Raises:
        FileNotFoundError: if the folder holds no finished evaluation.
        ValueError: if it holds one of another version.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        for name in (SETTINGS, METRICS, ROWS):
            if not (self.out / name).is_file():
                raise FileNotFoundError(
                    f"{self.out} holds no finished evaluation: there is no {name}"
                )
        try:
            settings, self.notes = read_settings(self.out / SETTINGS)
            self.settings = EvaluationSettings(**{"model": self.notes.get("model", ""), **settings})
            self.metrics: dict[str, Any] = json.loads((self.out / METRICS).read_bytes())
            _ = [self.metrics[name] for name in (*HEADLINES, "details")]  # all are there
            lines = csv.DictReader(io.StringIO((self.out / ROWS).read_text("utf-8")))
            self.rows = [Row.parse(line) for line in lines]
        except (KeyError, TypeError, ValueError, RecursionError, csv.Error):
            raise ValueError(
                f"{self.out} holds an evaluation that cannot be read, perhaps of another version "
                "of fcam_tf; evaluate again, into a new folder or with `overwrite`"
            ) from None

    @cached_property
    def split(self) -> Split:
        """The images and their ground truth."""
        return self.settings.splits()[self.settings.split]

    @cached_property
    def parts(self) -> Parts:
        """The images' results at every threshold."""
        return Parts(self.out, self.settings.split, len(self.rows))

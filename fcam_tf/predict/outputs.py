"""What is written for one photo: overlay, heat map and the line in results.jsonl."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fcam_tf import visualize
from fcam_tf.atomic import write_atomically
from fcam_tf.localization import NO_BOX, scale_box
from fcam_tf.predict.sources import HEATMAP_SUFFIXES, OVERLAY_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from fcam_tf.localization import Localization
    from fcam_tf.photos import Photo

_COMPRESSION = 1  # of zlib: four times as fast as its default, and a sixth larger


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Writes the outputs of a job, from any thread.

    Attributes:
        folder: where they go.
        heatmap: "png", "npy" or "none".
        top: how many of the most probable classes are listed.
        class_names: names in the order of the labels, or None.
    """

    folder: Path
    heatmap: str
    top: int
    class_names: Sequence[str] | None

    def write(self, name: str, photo: Photo, result: Localization) -> dict[str, Any]:
        """Write the files of one photo.

        Args:
            name: path below the folder, without a suffix.
            photo: the photo.
            result: its localisation, without a batch axis.

        Returns:
            What goes to results.jsonl, less the file.

        Raises:
            OSError: a file cannot be written; none is left in part.
        """
        heatmap, box, label = result.heatmaps, tuple(result.boxes), int(result.labels)
        found = box != NO_BOX
        score = float(result.scores)
        self.folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)

        overlay = visualize.overlay(
            photo.view, heatmap, box if found else None, self._caption(label), score
        )
        written = {"overlay": name + OVERLAY_SUFFIX, "heatmap": None}
        write_atomically(self.folder / written["overlay"], _png(overlay))
        suffix = HEATMAP_SUFFIXES[self.heatmap]
        if suffix:
            height, width = photo.view.shape[:2]
            values = visualize.resize_heatmap(heatmap, width, height)
            written["heatmap"] = name + suffix
            data = _npy(values) if self.heatmap == "npy" else _png(np.uint16(65535 * values + 0.5))
            write_atomically(self.folder / written["heatmap"], data)

        size = photo.width, photo.height
        record = {
            **self._class(label, score),
            "box": list(scale_box(box, heatmap.shape[::-1], size)) if found else None,
            "threshold": round(float(result.thresholds), 6),
            "width": photo.width,
            "height": photo.height,
        }
        if self.top > 1:
            best = np.argsort(-result.probabilities, kind="stable")[: self.top]
            record["top"] = [self._class(int(k), float(result.probabilities[k])) for k in best]
        return record | written

    def _class(self, label: int, score: float) -> dict[str, Any]:
        name = None if self.class_names is None else self.class_names[label]
        return {"label": label, "label_name": name, "score": round(score, 6)}

    def _caption(self, label: int) -> str:
        if self.class_names is None:
            return f"class {label}"
        return self.class_names[label].split(", ")[0]  # the first of several names


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()

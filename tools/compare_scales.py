"""Measures what `scales`, `flip` and `channels` of `cams.get` do to maps, on photos with masks.

    python tools/compare_scales.py --data ../shared/data/pets3 --split test

Prints the PxAP of CAM and LayerCAM, of the true class, with and without scales and flips. With
--score_photos N it also prints, for Score-CAM with --channels K on the first N photos, the time of
a photo and the mean distance of its map from the one of all channels.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from absl import flags
from common import print_table, start
from PIL import Image

_DATA = flags.DEFINE_string("data", "../shared/data/pets3", "a data set in the benchmark's layout")
_SPLIT = flags.DEFINE_string("split", "test", "a split with masks")
_MODEL = flags.DEFINE_string("model", "efficientnetlite_b0_cam.pets3", "a classifier of the data")
_SIZE = flags.DEFINE_integer("size", 224, "pixels on each side")
_BATCH = flags.DEFINE_integer("batch", 16, "photos at once")
_SCALES = flags.DEFINE_list("scales", ["1", "1.5", "2"], "relative to --size")
_SCORE_PHOTOS = flags.DEFINE_integer("score_photos", 0, "photos for Score-CAM; 0 leaves it out")
_CHANNELS = flags.DEFINE_list("channels", ["64", "256"], "numbers of channels for Score-CAM")

_CASES = (("cam", "P5"), ("layercam", "P5"), ("layercam", "P4,P5"))


def _pxap(cam: Any, photos: np.ndarray, labels: np.ndarray, masks: list[np.ndarray]) -> float:
    from fcam_tf import metrics  # noqa: PLC0415 - after the flags were read

    metric = metrics.PxAP()
    for first in range(0, len(photos), _BATCH.value):
        part = slice(first, first + _BATCH.value)
        maps = np.clip(cam.full_size(photos[part], labels[part]), 0, 1)
        metric.update_state(maps, masks[part])
    return float(metric.result())


def _scales(model: Any, photos: np.ndarray, labels: np.ndarray, masks: list[np.ndarray]) -> None:
    from fcam_tf import cams  # noqa: PLC0415

    scales = tuple(map(float, _SCALES.value))
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "flip": {"flip": True},
        f"scales {', '.join(_SCALES.value)}, flip": {"scales": scales, "flip": True},
    }
    rows = []
    for method, layers in _CASES:
        found = [
            _pxap(cams.get(method, model, layers.split(","), **each), photos, labels, masks)
            for each in options.values()
        ]
        rows.append((method, layers, *(f"{each:.1f}" for each in found)))
    title = f"PxAP of {_MODEL.value} on {len(photos)} photos at {_SIZE.value} pixels"
    print_table(title, ("method", "layers", *options), rows)


def _channels(model: Any, photos: np.ndarray, labels: np.ndarray) -> None:
    from fcam_tf import cams  # noqa: PLC0415

    maps: dict[str, np.ndarray] = {}
    rows = []
    for name in ("all", *_CHANNELS.value):
        cam = cams.get("scorecam", model, channels=None if name == "all" else int(name))
        cam(photos[:1, :32, :32], labels[:1])  # traced before the clock starts
        begin = time.perf_counter()
        maps[name] = np.concatenate(
            [cam(photos[i : i + 1], labels[i : i + 1]) for i in range(len(photos))]
        )
        seconds = (time.perf_counter() - begin) / len(photos)
        distance = np.abs(maps[name] - maps["all"]).mean()
        rows.append((name, f"{seconds:.1f}", f"{distance:.3f}"))
    columns = ("channels", "s/photo", "mean distance")
    print_table(f"Score-CAM on {len(photos)} photos", columns, rows)


def main() -> None:
    """Print the tables."""
    from fcam_tf import data, masks, zoo  # noqa: PLC0415

    split = data.load_wsol(_DATA.value, _SPLIT.value)
    frame = (_SIZE.value, _SIZE.value)
    photos = np.stack(
        [
            np.asarray(Image.open(p).convert("RGB").resize(frame, Image.Resampling.BILINEAR))
            for p in split.paths
        ]
    )
    labels = np.asarray(split.labels, "int32")
    truth = [masks.join_masks(*split.read_masks(i), size=frame) for i in range(len(photos))]
    model = zoo.load(_MODEL.value)
    model = getattr(model, "classifier", model)  # within an F-CAM
    _scales(model, photos, labels, truth)
    if count := _SCORE_PHOTOS.value:
        _channels(model, photos[:count], labels[:count])


if __name__ == "__main__":
    start(main)

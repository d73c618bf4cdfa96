"""The time that one map takes, by each method, with the forward pass and without.

Source: F-CAM (Belharbi et al., WACV 2022), supplement, table 4. There the forward pass counts for
some rows only, from one measurement of each without a warm-up; here both are measured for every
row that has both, and the median of several rounds is given. Weights are random: they do not change
the time.
"""

from __future__ import annotations

import functools
import os
import re
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from fcam_tf import cams
from fcam_tf import lazy_tensorflow as tf
from fcam_tf.cams import autodiff
from fcam_tf.graphs.resize import resize
from fcam_tf.models import FCAM, Classifier
from fcam_tf.names import FCAM_MAP, lookup
from fcam_tf.paper import peers
from fcam_tf.paper.architecture import decoder_inputs

FORWARD = "forward"
ROWS: Mapping[str, str] = {
    FORWARD: "Classifier, no map",
    "cam": "CAM",
    "gradcam": "Grad-CAM",
    "gradcampp": "Grad-CAM++",
    "smoothgradcampp": "Smooth Grad-CAM++",
    "xgradcam": "XGrad-CAM",
    "layercam": "LayerCAM",
    FCAM_MAP: "F-CAM with the classifier",
    "acol": "ACoL",
    "spg": "SPG",
    "adl": "ADL",
    "scorecam": "Score-CAM",
    "sscam": "SS-CAM",
    "iscam": "IS-CAM",
}
_OWN_CLASSIFIER = ("acol", "spg", "adl")
_LONG = 60  # seconds
_QUIET = 1.0  # of the last minute, in which this process has computed on one core at most
_LABEL = 0

Call = Callable[[], Any]


class Timing(NamedTuple):
    """One row: milliseconds for one map in the size of the image, median of the rounds."""

    method: str  # a name in `ROWS`
    name: str  # for people
    map_ms: float | None  # from features and logits; None where the method runs the model for it
    whole_ms: float  # from the image
    rounds: int
    estimated: bool  # whether it was scaled up from some of the channels


class Calls(NamedTuple):
    """What is timed: both give maps (1, H, W); that of `FORWARD` gives logits."""

    map: Call | None
    whole: Call


def timings(
    backbone: str,
    methods: Sequence[str] = tuple(ROWS),
    *,
    num_classes: int = 200,
    output_stride: int | None = None,
    size: int = 224,
    rounds: int = 7,
    channels: int | None = None,
) -> Iterator[Timing]:
    """Measure one method after the other, and yield each when it is measured.

    Args:
        backbone: a name in `fcam_tf.models.BACKBONES`.
        methods: names in `ROWS`.
        num_classes: of the classifier.
        output_stride: see `fcam_tf.models.Classifier`.
        size: side of the one image, in pixels.
        rounds: calls that are timed after one that is not; one that takes over a minute is timed
            by itself.
        channels: time Score-CAM, SS-CAM and IS-CAM with so many channels, and estimate the time of
            all: it is that of their forward passes. None runs all, which takes hours on a CPU.

    Raises:
        ValueError: unknown backbone or method.
    """
    for method in methods:
        lookup(ROWS, method, "methods")
    build = functools.cache(
        lambda baseline: Classifier(
            backbone, num_classes, output_stride=output_stride, weights=None, baseline=baseline
        )
    )
    build(None)
    images = _image(size)

    def measured(method: str) -> Timing:
        classifier = build(method if method in _OWN_CLASSIFIER else None)
        factor, options = 1.0, {}
        count = int(classifier.feature_maps["P5"].shape[-1])
        by_channel = issubclass(cams.METHODS.get(method, cams.CAM), cams.ScoreCAM)
        if by_channel and channels and channels < count:
            factor, options = count / channels, {"channels": channels}
        found = calls(method, classifier, images, **options)
        alone = None if found.map is None else _milliseconds(found.map, rounds)[0]
        whole, times = _milliseconds(found.whole, rounds)
        return Timing(method, ROWS[method], alone, factor * whole, times, factor != 1)

    return map(measured, methods)


def peer_timings(
    backbone: str,
    methods: Sequence[str] = tuple(ROWS),
    *,
    num_classes: int = 200,
    output_stride: int | None = None,
    size: int = 224,
    rounds: int = 7,
    done: Collection[str] = (),
    failed: Callable[[str], Any],
) -> Iterator[Timing]:
    """Measure the same methods of other libraries, as far as they are installed, see `peers`.

    Their score methods, which take hours on a CPU, are left out. Arguments are as of `timings`; the
    rows named in ``done`` are not measured, and ``failed`` is told of each that raises an error.
    """
    classifier = Classifier(backbone, num_classes, output_stride=output_stride, weights=None)
    for library, method, call in peers.calls(classifier, np.asarray(_image(size)), failed):
        name = f"{ROWS.get(method)}, {library}"
        if method not in methods or name in done:
            continue
        try:
            whole, times = _milliseconds(call, rounds)
        except Exception as error:  # noqa: BLE001 - code of others may raise anything
            failed(f"not timed: {name}: {error}")
            continue
        yield Timing(method, name, None, whole, times, estimated=False)


def calls(method: str, classifier: Classifier, images: Any, **options: Any) -> Calls:
    """Return what makes the map of a method for images (1, H, W, 3), ready to be timed.

    ``options`` are those of the CAM method.
    """
    images = ops.convert_to_tensor(images)  # else each call would copy it
    if method == FORWARD:
        run = autodiff.compiled(lambda x: classifier(x, training=False))
        return Calls(None, lambda: run(images))
    if method == FCAM_MAP:
        model = FCAM.from_classifier(classifier)
        return Calls(_decoder(model, images), lambda: model.maps_and_logits(images)[0])
    cam = cams.get(method, classifier, **options)
    alone = _of_features(cam, images) if cam.needs_only_features else None
    return Calls(alone, lambda: cam.full_size(images, _LABEL))


def _of_features(cam: cams.CAM, images: Any) -> Call:
    """Return what makes the map from features and logits that are there."""
    (features,), logits = cam.split.maps_and_logits(images)
    labels, size = cam.check_labels(_LABEL, images), images.shape[1:3]

    @autodiff.compiled
    def run(features: Any, logits: Any) -> Any:
        maps = cam.from_features(features, labels, logits)
        return resize(maps[..., None], size)[..., 0]

    return lambda: run(features, logits)


def _decoder(model: FCAM, images: Any) -> Call:
    """Return what makes the decoder's map from the classifier's features."""
    pixels, symbolic = model.inputs[0], decoder_inputs(model)
    features = keras.Model(pixels, symbolic)(images, training=False)
    decoder = keras.Model([pixels, *symbolic], model.output["fcam"])
    run = autodiff.compiled(lambda x: ops.softmax(decoder(x, training=False))[..., 1])
    return lambda: run([images, *features])


def device() -> str:
    """Name what TensorFlow computes on: the first GPU, or the processor and its cores."""
    if gpus := tf.config.list_physical_devices("GPU"):
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    file = Path("/proc/cpuinfo")
    stated = re.search(r"model name\s*: (.+)", file.read_text()) if file.exists() else None
    return f"{stated[1] if stated else 'CPU'}, {len(os.sched_getaffinity(0))} cores"


def busy() -> str:
    """Say "while other work ran (load 8.4)" if other processes compute; empty if none do."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # which Windows lacks
    return f"while other work ran (load {load:.1f})" if load > _QUIET else ""


def _image(size: int) -> Any:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3))
    return ops.convert_to_tensor(pixels, "float32")


def _milliseconds(call: Call, rounds: int) -> tuple[float, int]:
    """Return the median time of a call and how often it was timed."""
    first = _seconds(call)
    if first > _LONG:  # what is compiled in the first call is a small part of it
        return 1000 * first, 1
    return 1000 * statistics.median(_seconds(call) for _ in range(rounds)), rounds


def _seconds(call: Call) -> float:
    begin = time.perf_counter()
    keras.tree.map_structure(np.asarray, call())  # waits for what is still computed
    return time.perf_counter() - begin

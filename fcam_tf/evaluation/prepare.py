"""From what is asked for to an evaluation: the one that is there, or one to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fcam_tf.evaluation.results import Run, Settings, recall
from fcam_tf.evaluation.sources import MapSource, ModelMaps

if TYPE_CHECKING:
    import keras

    from fcam_tf.evaluation.run import Evaluation


def prepare(
    asked: Settings,
    out: str | Path,
    source: MapSource | Callable[[], keras.Model],
    *,
    tell: Callable[[str], object] = lambda _: None,
    overwrite: bool = False,
) -> Run | Evaluation:
    """Return the finished evaluation that is asked for, or else one to run.

    Args:
        asked: what decides the results. With a model, method and layer may be empty for what fits
            it, and labels for the true classes if it knows them.
        out: the folder.
        source: of the maps; or what loads the model, which is done only if there is need.
        tell: is told what maps are made.
        overwrite: start afresh.

    Raises:
        ValueError, FileNotFoundError: see `Evaluation`.
    """
    run = None if overwrite else recall(asked, out, source)
    if run:
        return run
    settings = asked
    if not hasattr(source, "image_size"):
        layer = asked.layer.split(",") if asked.layer else None
        source = ModelMaps(source(), asked.method or None, layer)
        tell(f"maps of {source.method}{f' at {source.layer}' if source.layer else ''}")
        known = asked.splits()[asked.split].has_classes(source.num_classes, source.class_names)
        labels = asked.labels or ("truth" if known else "predicted")
        settings = dataclasses.replace(
            asked, method=source.method, layer=source.layer, labels=labels
        )
    from fcam_tf.evaluation.run import Evaluation  # noqa: PLC0415 - TensorFlow

    return Evaluation(source, settings, out, asked=asked, overwrite=overwrite)

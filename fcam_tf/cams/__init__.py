"""Class activation maps of any Keras classifier: batched, in one forward pass where possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fcam_tf.cams.activation import ClassActivationMap as ClassActivationMap
from fcam_tf.cams.base import CAM as CAM
from fcam_tf.cams.base import normalize as normalize
from fcam_tf.cams.gradient import GradCAM as GradCAM
from fcam_tf.cams.gradient import GradCAMPlusPlus as GradCAMPlusPlus
from fcam_tf.cams.gradient import LayerCAM as LayerCAM
from fcam_tf.cams.gradient import SmoothGradCAMPlusPlus as SmoothGradCAMPlusPlus
from fcam_tf.cams.gradient import XGradCAM as XGradCAM
from fcam_tf.cams.own_map import OwnMap as OwnMap
from fcam_tf.cams.score import IntegratedScoreCAM as IntegratedScoreCAM
from fcam_tf.cams.score import ScoreCAM as ScoreCAM
from fcam_tf.cams.score import SmoothedScoreCAM as SmoothedScoreCAM
from fcam_tf.cams.split import gives_probabilities as gives_probabilities
from fcam_tf.cams.split import logits_output as logits_output
from fcam_tf.names import lookup

METHODS: Mapping[str, type[CAM]] = {
    method.name: method
    for method in (
        ClassActivationMap,
        GradCAM,
        GradCAMPlusPlus,
        SmoothGradCAMPlusPlus,
        XGradCAM,
        LayerCAM,
        ScoreCAM,
        SmoothedScoreCAM,
        IntegratedScoreCAM,
    )
}
# Where the classifier was trained in another way: `fcam_tf.baselines`.
BASELINES: Mapping[str, type[CAM]] = {
    "has": ClassActivationMap,
    "cutmix": ClassActivationMap,
    "adl": ClassActivationMap,
    "acol": OwnMap,
    "spg": OwnMap,
    "icl": ClassActivationMap,
}


def get(name: str, model: keras.Model, layer: Any = None, **options: Any) -> CAM:
    """Return a CAM method ready to explain ``model``.

    Args:
        name: one of `METHODS`, or of `BASELINES`: the map of a classifier that was trained so.
        model: any functional or sequential Keras classifier.
        layer: the map to weigh; see `CAM`.
        **options: further arguments of the method.

    Raises:
        ValueError: no such method; the message gives the nearest names. Or a classifier of ours
            that was not built for the baseline whose map this is.
    """
    method = lookup({**METHODS, **BASELINES}, name, "method")
    built_for = getattr(getattr(model, "baseline", None), "name", name)
    if name in BASELINES and built_for != name:
        raise ValueError(
            f"`method` {name!r} is the map of a classifier that was trained so: Classifier(..., "
            f"baseline={name!r}). Received one of "
            + (f"baseline={built_for!r}." if built_for else "no baseline; 'cam' explains it.")
        )
    return method(model, layer, **options)

"""Class activation maps of any Keras classifier: batched, in one forward pass where possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fcam_tf.cams import scores as scores
from fcam_tf.cams.base import CAM as CAM
from fcam_tf.cams.base import normalize as normalize
from fcam_tf.cams.class_map import HeadClassMap as HeadClassMap
from fcam_tf.cams.eigen import EigenCAM as EigenCAM
from fcam_tf.cams.eigen import EigenGradCAM as EigenGradCAM
from fcam_tf.cams.ending import Activation as Activation
from fcam_tf.cams.ending import Ending as Ending
from fcam_tf.cams.ending import classes_of as classes_of
from fcam_tf.cams.ending import ending_of as ending_of
from fcam_tf.cams.ending import logits_output as logits_output
from fcam_tf.cams.ending import probabilities as probabilities
from fcam_tf.cams.fullgrad import FullGrad as FullGrad
from fcam_tf.cams.gradient import ClassActivationMap as ClassActivationMap
from fcam_tf.cams.gradient import ElementwiseGradCAM as ElementwiseGradCAM
from fcam_tf.cams.gradient import GradCAM as GradCAM
from fcam_tf.cams.gradient import GradCAMPlusPlus as GradCAMPlusPlus
from fcam_tf.cams.gradient import HiResCAM as HiResCAM
from fcam_tf.cams.gradient import LayerCAM as LayerCAM
from fcam_tf.cams.gradient import SmoothGradCAMPlusPlus as SmoothGradCAMPlusPlus
from fcam_tf.cams.gradient import XGradCAM as XGradCAM
from fcam_tf.cams.score import AblationCAM as AblationCAM
from fcam_tf.cams.score import IntegratedScoreCAM as IntegratedScoreCAM
from fcam_tf.cams.score import ScoreCAM as ScoreCAM
from fcam_tf.cams.score import SmoothedScoreCAM as SmoothedScoreCAM
from fcam_tf.cams.share import ClassShare as ClassShare
from fcam_tf.names import BASELINES, lookup

METHODS: Mapping[str, type[CAM]] = {
    method.name: method
    for method in (
        ClassActivationMap,
        GradCAM,
        GradCAMPlusPlus,
        SmoothGradCAMPlusPlus,
        XGradCAM,
        LayerCAM,
        HiResCAM,
        ElementwiseGradCAM,
        EigenCAM,
        EigenGradCAM,
        FullGrad,
        ScoreCAM,
        SmoothedScoreCAM,
        IntegratedScoreCAM,
        AblationCAM,
    )
}


def get(name: str, model: keras.Model, layer: Any = None, **options: Any) -> CAM:
    """Return a CAM method ready to explain ``model``.

    Args:
        name: one of `METHODS`, or the baseline that one of this package's classifiers was trained
            with.
        model: any functional or sequential Keras classifier, or what docs/models.md lists.
        layer: the feature map to use; see `CAM`.
        **options: further arguments of the method, and those of `CAM` that say what is explained:
            ``image_input``, ``output``, ``score``, ``grid``.

    Raises:
        ValueError: there is no such method; the message gives the nearest names. Or ``name`` is a
            baseline, and ``model`` is not a `fcam_tf.models.Classifier` built for it.

    Examples:
        >>> cam = fcam_tf.cams.get("layercam", classifier)
        >>> cam(images).shape  # of the predicted classes, one value for each cell
        TensorShape([2, 8, 8])
        >>> cam.full_size(images, [0, 2]).shape  # of the classes given, at the size of the images
        TensorShape([2, 64, 64])
    """
    if name not in BASELINES:
        known: dict[str, Any] = {**METHODS, **dict.fromkeys(BASELINES, CAM)}
        return lookup(known, name, "method")(model, layer, **options)
    baseline: Any = getattr(model, "baseline", None)
    built_for = getattr(baseline, "name", "")
    if built_for != name:
        raise ValueError(
            f"`method` {name!r} needs a classifier that was built for it: Classifier(..., "
            f"baseline={name!r}). Received one with "
            + (f"baseline={built_for!r}." if built_for else "no baseline; 'cam' explains it.")
        )
    return baseline.cam(model, layer, **options)

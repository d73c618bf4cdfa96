"""What an F-CAM is built on: a copy of a classifier, and the map that its decoder starts from."""

from __future__ import annotations

from typing import Any

import keras

from fcam_tf import cams
from fcam_tf.graphs import graph
from fcam_tf.graphs.ranges import expect_rgb
from fcam_tf.models.classifier import Classifier


def copied(classifier: keras.Model) -> keras.Model:
    """Copy a classifier with its weights; the copy of one with probabilities returns logits.

    Raises:
        TypeError: it has no functional graph.
        ValueError: it has a preprocessor, takes images other than RGB, or ends in a softmax or
            sigmoid that cannot be removed.
    """
    if isinstance(classifier, Classifier):
        return classifier.copy()
    if getattr(classifier, "preprocessor", None) is not None:
        raise ValueError(
            f"`classifier` {classifier.name!r} has a preprocessor that its graph does not contain, "
            "and the decoder must see what the classifier sees. Set `preprocessor` to None, and "
            "put layers in front that do the same: "
            "keras.Model(images, classifier(keras.layers.Rescaling(scale, offset)(images)))."
        )
    expect_rgb("classifier", classifier)
    flat = graph.flatten(classifier)
    clone = keras.models.clone_model(flat)
    clone.set_weights(flat.get_weights())
    for layer in clone.layers:  # a Normalization keeps what follows from its weights
        getattr(layer, "finalize_state", lambda: None)()
    ending = cams.ending_of(clone, getattr(classifier, "loss", None))
    copy = keras.Model(clone.inputs, cams.logits_output(clone, ending), name=classifier.name)
    if ending.activation == "sigmoid":  # which its logits do not say
        copy.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    return copy


def top_map(classifier: keras.Model, teacher: cams.CAM) -> Any:
    """Return the map that the decoder starts from, as a tensor of the classifier's own graph.

    Raises:
        ValueError: the CAM does not weight a map (batch, height, width, channels), or the
            classifier has inputs other than images.
    """
    if isinstance(classifier, Classifier):
        return classifier.feature_maps["P5"]
    top, name = teacher.split.feature_maps[-1], teacher.split.layers[-1]
    if len(top.shape) != 4 or len(classifier.inputs) > 1:
        raise ValueError(
            "an F-CAM needs a classifier of images alone with a map (batch, height, width, "
            f"channels) that teaches the decoder. Received: {name!r} gives {tuple(top.shape)}, "
            f"inputs {[x.name for x in classifier.inputs]}."
        )
    tensors = [x for step in graph.steps(classifier) for x in step.outputs]
    if all(x is not top for x in tensors):  # layers behind it were taken apart, see `Opened`
        operation = graph.makers(graph.steps(teacher.split.model))[id(top)].operation
        top = classifier.get_layer(operation.name).output
    return top


def class_share(classifier: keras.Model, teacher: cams.CAM) -> cams.ClassShare:
    """Return the `ClassShare` on the map that the decoder starts from."""
    layer = None if isinstance(classifier, Classifier) else teacher.layers[-1]
    return cams.ClassShare(classifier, layer)

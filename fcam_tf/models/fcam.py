"""F-CAM: a frozen classifier and the decoder that makes its full-resolution map."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf import cams, checks
from fcam_tf.graphs import graph
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.localization import OTSU, Localization, check_threshold
from fcam_tf.models import inference
from fcam_tf.models.decoder import MatchSize, object_map
from fcam_tf.models.foundation import class_share, copied, top_map
from fcam_tf.models.learning import Learner
from fcam_tf.refine import check_refine, refine_maps

_building = threading.Lock()


@keras.saving.register_keras_serializable("fcam_tf")
class FCAM(Learner):
    """A classifier that also localises, at full resolution (F-CAM, WACV 2022).

    Input: raw RGB (B, H, W, 3) in [0, 255], any H and W, uint8 or float. Output: ``{"logits": (B,
    classes), "fcam": (B, H, W, 2)}``, float32; the softmax of "fcam" over its last axis is the
    probability of background (channel 0) and object (channel 1).

    One flat functional graph, compiled. ``fit`` takes batches ``(image, label)``, or ``(image,
    {"label": ..., "cam": ...})`` with stored coarse maps (B, h, w) in [0, 1], cropped and flipped
    as the image was. Without stored maps, the CAM of the features that the decoder reads is used:
    nothing runs twice, unless ``scales`` or ``flip`` require it. Labels are (B,) or (B, 1) class
    numbers; a number below 0 means the predicted class, and such an image adds nothing to the
    classification term. A classifier with sigmoids also takes labels (B, classes): 1 for each class
    that an image shows, 0 for the others, -1 if it is not known. The teaching map is then the
    maximum over the maps of the classes shown.

    The layers' own losses (regularisers, activity regularisers, ``add_loss``) are added as Keras
    does: unweighted, logged separately, and those of weights only while the weights train.

    Use `from_classifier`; the constructor takes over the layers of the given classifier.

    Args:
        classifier: a `Classifier`, or any functional or sequential Keras model from images
            (B, H, W, 3) in [0, 255] to logits (B, classes).
        method: CAM method that teaches the decoder, a name in `fcam_tf.cams.METHODS`, or of the
            baseline that the classifier was trained with.
        layer: the map that the teacher weights, or several if its method fuses them (``["P4",
            "P5"]``); None takes the last one before the head. The decoder starts from the last of
            them, or from the top map of a `Classifier`.
        decoder_filters: channels of the decoder's blocks, the coarsest first; None takes the
            backbone's own, ``()`` puts one 1x1 convolution on the top map instead.
        class_names: names in the order of the labels; None takes the classifier's.
        threshold: the threshold above which pixels count as object in `localize`: "otsu", or a
            number in [0, 1] relative to each map's maximum.
        frozen: names of the layers that do not train; None freezes the whole classifier.
        input_size: side of the square that evaluated images are resized to, in pixels; None takes
            the classifier's. Training sets it to the size that it crops to.
        seed: random seed for drawing the decoder's seeds in training.
        scales: sizes, relative to the images of a step, at which the teacher explains them; 1 must
            be among them. It averages the maps, see `fcam_tf.cams.CAM`. Except with the default
            (one scale and no mirror image), each copy costs a pass of the classifier.
        flip: whether the teacher explains mirror images, too.
        name: name of the model.

    Attributes, beside most of the arguments:
        num_classes: number of classes; 2 if the classifier has one output.
        activation: "softmax", or "sigmoid" if each class has an independent probability.
        teacher: the CAM object that explains the classifier.
        feature_maps: symbolic maps of the classifier by level, ``"P1"`` the finest.

    Raises:
        TypeError: the classifier has no functional graph.
        ValueError: the method cannot explain this model, there is no such layer, or the number of
            filters or names is wrong.

    Examples:
        >>> model = fcam_tf.models.FCAM.from_classifier(classifier)
        >>> answer = model(images)
        >>> answer["logits"].shape, answer["fcam"].shape
        (TensorShape([2, 3]), TensorShape([2, 64, 64, 2]))
    """

    def __init__(
        self,
        classifier: keras.Model,
        *,
        method: str = "cam",
        layer: str | Sequence[str] | None = None,
        decoder_filters: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
        threshold: str | float = OTSU,
        frozen: Sequence[str] | None = None,
        input_size: int | None = None,
        seed: int = 0,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        name: str | None = None,
    ) -> None:
        teacher = cams.get(method, classifier, layer, scales=scales, flip=flip)
        top = top_map(classifier, teacher)
        feature_maps, maps, filters = object_map(classifier, top, decoder_filters)
        images, outputs = classifier.inputs[0], _outputs(classifier, maps)
        super().__init__(images, outputs, name=name or f"{classifier.name}_fcam")

        # A layer that only training needs is no output for users.
        training = keras.Model(images, {**outputs, "features": top})
        self._hidden = graph.Untracked(
            classifier=classifier, teacher=teacher, training=training, share=None
        )
        self.feature_maps = feature_maps
        self.method = method
        self.layer = layer if layer is None or isinstance(layer, str) else list(layer)
        self.threshold = check_threshold(threshold)
        self.decoder_filters = filters
        self.num_classes = int(outputs["logits"].shape[-1])
        self.activation = teacher.split.activation
        names = getattr(classifier, "class_names", None) if class_names is None else class_names
        self.class_names = checks.class_names(names, self.num_classes)
        own_size = getattr(classifier, "input_size", 224)
        self.input_size = int(images.shape[1] or input_size or own_size)
        self._prepare_training(seed, frozen)

    @classmethod
    def from_classifier(cls, classifier: keras.Model, **options: Any) -> FCAM:
        """Put a decoder on top of a copy of a classifier, and freeze the copy.

        Args:
            classifier: see `FCAM`; it may also return probabilities. It is not changed.
            **options: those of `FCAM`, from ``method`` to ``name``.

        Raises:
            TypeError, ValueError: see `FCAM`.

        Examples:
            >>> model = fcam_tf.models.FCAM.from_classifier(classifier, method="gradcam")
            >>> model.teacher.name, model.classifier.trainable_weights
            ('gradcam', [])
        """
        if options.get("class_names") is None:
            options["class_names"] = getattr(classifier, "class_names", None)
        return cls(copied(classifier), **options)

    @property
    def class_share(self) -> cams.ClassShare:
        """The `fcam_tf.cams.ClassShare` that divides the map among classes."""
        with _building:  # several threads may ask for it at once
            if self._hidden.share is None:
                self._hidden.share = class_share(self.classifier, self.teacher)
        return self._hidden.share

    def localize(
        self,
        images: Any,
        labels: Any = None,
        threshold: str | float | None = None,
        *,
        flip: bool = False,
        refine: str | None = None,
    ) -> Localization:
        """Find what is in each image of a batch, and where.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
            labels: (B,) classes to localise, or one for all; -1 is the predicted class. The
                decoder's map is then multiplied by the share of the class in each cell, see
                `inference.of_classes`. None also reports the predicted class, but the map is the
                decoder's own: that of the object, whatever its class.
            threshold: see `FCAM`; None takes the model's own.
            flip: whether to process mirrored images, too, and average the heat maps of both. This
                doubles the cost.
            refine: "crf" aligns heat maps with the images, see `fcam_tf.refine.refine_maps`.

        Returns:
            The localisation, in the frame of ``images``. Heat maps are probabilities; with
            ``labels`` they are at most these probabilities.

        Raises:
            ValueError: there is no image, the shape is wrong, a label is not a class, ``threshold``
                or ``refine`` is unknown, or outputs are not finite.

        Examples:
            >>> found = model.localize(images)
            >>> found.heatmaps.shape, found.masks.shape, found.boxes.shape
            ((2, 64, 64), (2, 64, 64), (2, 4))
            >>> found.labels.shape, found.scores.shape
            ((2,), (2,))
        """
        check_refine(refine)
        threshold = self.threshold if threshold is None else threshold
        heatmaps, logits = inference.class_maps_and_logits(self, images, labels, flip=flip)
        probabilities = ops.convert_to_numpy(cams.probabilities(logits, self.activation))
        if not np.isfinite(probabilities).all() or not np.isfinite(heatmaps).all():
            raise ValueError("The outputs are not finite: the images or the weights contain NaN.")
        if refine:
            heatmaps = refine_maps(heatmaps, images)
        return Localization.from_heatmaps(heatmaps, probabilities, labels, threshold)

    def maps_and_logits(
        self, images: Any, labels: Any = None, *, flip: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the object's probability (B, H, W) in [0, 1] and the logits (B, classes).

        The signature is that of a CAM method; labels do not matter, because one map shows any
        object. With ``flip``, maps are averages over the images and their mirror images.
        """
        expect_raw_pixels(images)
        images = self.teacher.check_images(images)
        self.teacher.check_labels(labels, images)
        maps, logits = inference.maps_and_logits(self._predicted, images, flip=flip)
        return ops.convert_to_numpy(maps), ops.convert_to_numpy(logits)

    def _predicted(self, images: Any) -> dict[str, Any]:
        # Each replica of a strategy gives the batch once more.
        outputs = self.predict_on_batch(images)
        return {name: values[: len(images)] for name, values in outputs.items()}

    def get_config(self) -> dict[str, Any]:
        classifier = keras.saving.serialize_keras_object(self.classifier)
        return {
            "classifier": json.loads(json.dumps(classifier)),  # with lists, as files have it
            "method": self.method,
            "layer": self.layer,
            "decoder_filters": self.decoder_filters,
            "class_names": self.class_names,
            "threshold": self.threshold,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
            "input_size": self.input_size,
            "seed": int(self.draws.get_config()["seed"]),
            "scales": list(self.teacher.scales),
            "flip": self.teacher.flip,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> FCAM:
        config = dict(config)
        classifier = keras.saving.deserialize_keras_object(
            config.pop("classifier"), custom_objects=custom_objects
        )
        return cls(classifier, **config)


def _outputs(classifier: keras.Model, maps: Any) -> dict[str, Any]:
    """Return the symbolic outputs of an F-CAM: float32, the map as large as the image."""
    logits = classifier.outputs[0]
    if logits.dtype != "float32":
        logits = ops.cast(logits, "float32")
    fcam = MatchSize(dtype="float32", name="fcam")([maps, classifier.inputs[0]])
    return {"logits": logits, "fcam": fcam}

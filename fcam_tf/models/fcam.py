"""F-CAM: a frozen classifier and, behind it, the decoder of its full-resolution map."""

from __future__ import annotations

import inspect
import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fcam_tf import cams, checks
from fcam_tf.graphs import graph
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.replicas import apart, mean_over_replicas, replicas
from fcam_tf.localization import OTSU, Localization, check_threshold
from fcam_tf.losses.objective import TERMS, Batch, FCAMLoss
from fcam_tf.models import inference
from fcam_tf.models.decoder import MatchSize, object_map
from fcam_tf.models.foundation import class_share, copied, top_map
from fcam_tf.models.targets import Epoch, coarse_maps, labels_of, planes
from fcam_tf.refine import check_refine, refine_maps

_ADDED = "regularization"  # what layers add to the loss, in the logs
_building = threading.Lock()


@keras.saving.register_keras_serializable("fcam_tf")
class FCAM(keras.Model):
    """A classifier that also localises, at full resolution (F-CAM, WACV 2022).

    Input: raw RGB (B, H, W, 3) in [0, 255], any H and W, uint8 or float. Output: ``{"logits": (B,
    classes), "fcam": (B, H, W, 2)}``, float32; the softmax of "fcam" over its last axis is the
    probability of background (channel 0) and object (channel 1).

    One flat functional graph, compiled. ``fit`` takes batches ``(image, label)``, or ``(image,
    {"label": ..., "cam": ...})`` with stored coarse maps (B, h, w) in [0, 1], cropped and flipped
    as the image was. Without those, the CAM of the features that the decoder reads is used:
    nothing runs twice. Labels are (B,) or (B, 1) class numbers; one below 0 stands for the
    predicted class, and such an image adds nothing to the classification term. A classifier of
    sigmoids takes (B, classes) too: 1 for each class that an image shows, 0 for the others, -1
    where that is not known. The maps of the classes shown teach together, by their maximum.

    What layers add to the loss (regularisers, activity regularisers, ``add_loss``) is added as
    Keras does it: that of weights only while they train, unweighted, and logged by itself.

    Use `from_classifier`; the constructor takes over the layers of the classifier that it is given.

    Args:
        classifier: a `Classifier`, or any functional or sequential Keras model from images
            (B, H, W, 3) in [0, 255] to logits (B, classes).
        method: CAM method that teaches the decoder, a name in `fcam_tf.cams.METHODS`, or of the
            baseline that the classifier was trained with.
        layer: the map that the teacher weights, or several where its method fuses them
            (``["P4", "P5"]``); None takes the last one before the head. The decoder starts from
            the last of them, and of our own classifiers from the top map.
        decoder_filters: channels of the decoder's blocks, the coarsest first; None takes the
            backbone's own, ``()`` puts one 1x1 convolution on the top map instead.
        class_names: names in the order of the labels; None takes the classifier's.
        threshold: what counts as object in `localize`: "otsu", or a number in [0, 1] relative to
            each map's maximum.
        frozen: names of the layers that do not train; None freezes the whole classifier.
        input_size: side of the square that evaluated images are resized to, in pixels; None takes
            the classifier's. Training sets it to the size that it crops to.
        seed: of the decoder's draws of seeds in training.
        name: name of the model.

    Attributes, beside most of the arguments:
        num_classes: number of classes; 2 where the classifier has one output.
        activation: "softmax", or "sigmoid" where each class has a probability by itself.
        teacher: the CAM method itself, ready to explain the classifier.
        feature_maps: symbolic maps of the classifier by level, ``"P1"`` the finest.

    Raises:
        TypeError: the classifier has no functional graph.
        ValueError: the method cannot explain this model, no such layer, or a wrong number of
            filters or names.

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
        name: str | None = None,
    ) -> None:
        teacher = cams.get(method, classifier, layer)
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

    def _prepare_training(self, seed: int, frozen: Sequence[str] | None) -> None:
        """Make what training draws and counts, freeze layers, and compile."""
        # TensorFlow's CRF operation does not run under XLA; Keras asks before it chooses.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.draws = keras.random.SeedGenerator(seed, name="draws")
        # Of a method that adds noise, so that a compiled step draws it anew under every backend.
        self.noise = getattr(self.teacher, "draws", None)
        self.epoch = Epoch(name="epoch_now")
        self._terms = {
            name: keras.metrics.Mean(name=f"{name}_loss", dtype="float32")
            for name in (*TERMS, _ADDED)
        }
        if frozen is None:
            self.freeze()
        else:
            for layer_name in frozen:
                self.get_layer(layer_name).trainable = False
        sgd = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, name="sgd")
        self.compile(optimizer=sgd, loss=FCAMLoss())

    @classmethod
    def from_classifier(cls, classifier: keras.Model, **options: Any) -> FCAM:
        """Put a decoder behind a copy of a classifier, and freeze the copy.

        Args:
            classifier: see `FCAM`; it may give probabilities, too. It is not changed.
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
    def classifier(self) -> keras.Model:
        """The classifier alone, which shares its layers with this model."""
        return self._hidden.classifier

    @property
    def teacher(self) -> cams.CAM:
        return self._hidden.teacher

    @property
    def class_share(self) -> cams.ClassShare:
        """Where the classifier sees one class rather than others."""
        with _building:  # several threads may ask for it at once
            if self._hidden.share is None:
                self._hidden.share = class_share(self.classifier, self.teacher)
        return self._hidden.share

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> dict[str, Any]:
        if training:
            return graph.run(self._hidden.training, inputs)
        if self._evaluates:
            return self._hidden.training(inputs, training=False)
        return super().call(inputs, training=training, mask=mask)

    _evaluates = False  # whether the loss needs the features, as in training
    _layers_add = False  # whether the losses of layers are in the logs

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train, as ``fit`` of every Keras model does.

        The epochs of the loss's windows and barrier are those that ``fit`` counts and shows: from
        ``initial_epoch`` + 1 on, so a further ``fit`` begins with 1 unless that is given.
        ``evaluate`` and ``train_on_batch`` count none: they go by the epoch of the last ``fit``, 1
        at first, or what ``model.epoch.update_state(3)`` sets.
        """
        call = inspect.signature(super().fit).bind(*args, **kwargs)
        begins = not call.arguments.get("initial_epoch")
        if begins and getattr(self.loss, "windows", None) and int(self.optimizer.iterations):
            warnings.warn(
                "`fit` begins with epoch 1 again, and so do the windows of the loss. Give "
                "`initial_epoch` to go on where the last call ended.",
                stacklevel=2,
            )
        count = self.epoch.counting()
        given = call.arguments.get("callbacks")
        if isinstance(given, keras.callbacks.CallbackList):
            given.callbacks.insert(0, count)
        else:
            call.arguments["callbacks"] = [count, *keras.tree.flatten(given or [])]
        return super().fit(*call.args, **call.kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of a data set, as ``evaluate`` of every Keras model does."""
        self._evaluates = True  # else the classifier would run once more, for the teacher's maps
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._evaluates = False

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Compute the objective that the model was compiled with, term by term."""
        if not isinstance(self.loss, FCAMLoss):
            raise TypeError(
                "`loss` must be an fcam_tf.losses.FCAMLoss. The model was compiled with: "
                f"{self.loss!r}."
            )
        expect_raw_pixels(x)
        # Before the teacher's maps are made, which may run layers once more.
        added = [ops.sum(ops.cast(loss, "float32")) for loss in self.losses]
        self._layers_add = bool(added)
        batch = self._batch(x, y if isinstance(y, Mapping) else {"label": y}, y_pred)
        total = sum(added, 0.0)
        if added:
            self._terms[_ADDED].update_state(total, sample_weight=ops.shape(batch.maps)[0])
        for name, values in self.loss.terms(batch).items():
            if sample_weight is not None:
                values = values * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))  # noqa: PLW2901
            mean = mean_over_replicas(values)
            # By the size of the batch, as Keras weights the total.
            self._terms[name].update_state(mean, sample_weight=ops.shape(values)[0])
            total += mean
        return total / replicas()  # gradients of replicas are added up

    def _batch(self, images: Any, targets: Mapping[str, Any], outputs: Mapping[str, Any]) -> Batch:
        """Return what the terms of the loss are computed from, as far as they have a weight."""
        labels = labels_of(targets, self.num_classes, self.activation)
        coarse, masks = None, targets.get("mask")
        if self.loss.weights["seeds"]:
            coarse = coarse_maps(self.teacher, images, labels, targets.get("cam"), outputs)
        if self.loss.weights["masks"] and masks is None:
            raise ValueError(
                "`y` must hold 'mask' where the loss gives masks a weight. Received: "
                f"{', '.join(targets)}."
            )
        return Batch(
            images=images,
            maps=outputs["fcam"],
            epoch=self.epoch.value,
            cams=coarse,
            seed=apart(self.draws),
            masks=None if masks is None else planes("mask", masks),
            labels=labels if self._classifier_trains() else None,
            logits=outputs["logits"],
            activation=self.activation,
        )

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the logs of an epoch: the total and the terms that are in use."""
        used = {name for name, weight in self.loss.weights.items() if weight}
        if not self._classifier_trains():
            used.discard("classification")
        if self._layers_add:
            used.add(_ADDED)
        hidden = {self.epoch.name, *(self._terms[name].name for name in set(self._terms) - used)}
        return {k: v for k, v in super().get_metrics_result().items() if k not in hidden}

    def localize(
        self,
        images: Any,
        labels: Any = None,
        threshold: str | float | None = None,
        *,
        flip: bool = False,
        refine: str | None = None,
    ) -> Localization:
        """Say what is in each image of a batch, and where.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
            labels: (B,) classes to localise, or one for all; -1 is the predicted class. The map is
                the decoder's where the classifier sees the class rather than others, see
                `inference.of_classes`. None is the predicted class, too, and the map the decoder's
                own: of the object, whatever its class.
            threshold: see `FCAM`; None for the model's own.
            flip: whether mirrored images are looked at, too, and heat maps are means of both. It
                doubles the cost.
            refine: "crf" aligns heat maps with the images, see `fcam_tf.refine.refine_maps`.

        Returns:
            The localisation, in the frame of ``images``; heat maps are probabilities, under
            ``labels`` at most these.

        Raises:
            ValueError: no image, wrong shape, a label that is not a class, unknown ``threshold`` or
                ``refine``, or outputs that are not finite.

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
        """Return the object's probability (B, H, W) in [0, 1] and the logits (B, classes).

        The signature is that of a CAM method; labels do not matter, as one map shows any object.
        Under ``flip`` maps are means of those of the images and of their mirror images.
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

    def freeze(self) -> None:
        """Stop training the classifier; batch statistics and dropout stay in inference mode."""
        for layer in self._classifier_layers():
            layer.trainable = False
        self.train_function = None  # else ``fit`` goes on with the step that it traced before

    def unfreeze(self, head_only: bool = False) -> None:
        """Train the classifier too, on a cross-entropy term; compile again if ``fit`` ran.

        Args:
            head_only: unfreeze the linear head alone.

        Raises:
            ValueError: ``head_only`` of a classifier that does not end in a layer with weights.
        """
        head = self.teacher.split.head
        if head_only and not getattr(head, "weights", None):
            raise ValueError(
                "`head_only` needs a classifier that ends in a layer with weights, such as a dense "
                f"one. Received one that ends in {head.name!r}. Unfreeze all of it, or set "
                ".trainable of the layers that are to train."
            )
        for layer in self._classifier_layers():
            layer.trainable = layer is head or not head_only
        self.train_function = None

    def save_own_variables(self, store: Any) -> None:
        # All other variables are those of layers; Keras leaves this one out, and a training that
        # goes on later would draw its first seeds again.
        store["draws"] = self.draws.state
        if self.noise is not None:
            store["noise"] = self.noise.state

    def load_own_variables(self, store: Any) -> None:
        self.draws.state.assign(store["draws"])
        if self.noise is not None and "noise" in store:  # not in older files
            self.noise.state.assign(store["noise"])

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
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> FCAM:
        config = dict(config)
        classifier = keras.saving.deserialize_keras_object(
            config.pop("classifier"), custom_objects=custom_objects
        )
        return cls(classifier, **config)

    def _classifier_layers(self) -> list[Any]:
        inside = {id(layer) for layer in self.classifier.layers}
        return [layer for layer in self.layers if id(layer) in inside]

    def _classifier_trains(self) -> bool:
        return any(layer.trainable_variables for layer in self._classifier_layers())


def _outputs(classifier: keras.Model, maps: Any) -> dict[str, Any]:
    """Return the symbolic outputs of an F-CAM: float32, the map as large as the image."""
    logits = classifier.outputs[0]
    if logits.dtype != "float32":
        logits = ops.cast(logits, "float32")
    fcam = MatchSize(dtype="float32", name="fcam")([maps, classifier.inputs[0]])
    return {"logits": logits, "fcam": fcam}

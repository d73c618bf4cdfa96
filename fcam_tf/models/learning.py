"""How an F-CAM learns: the terms of its loss, its epochs, and which parts are frozen."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf import cams
from fcam_tf.graphs import graph
from fcam_tf.graphs.ranges import expect_raw_pixels
from fcam_tf.graphs.replicas import apart, mean_over_replicas, replicas
from fcam_tf.losses.objective import TERMS, Batch, FCAMLoss
from fcam_tf.models.targets import Epoch, coarse_maps, labels_of, planes

_ADDED = "regularization"  # what layers add to the loss, in the logs


class Learner(keras.Model):
    """A classifier with a decoder that the classifier's maps teach, see `FCAM`."""

    _hidden: graph.Untracked  # "classifier", "teacher", and "training": the graph of a step
    num_classes: int
    activation: cams.Activation

    @property
    def classifier(self) -> keras.Model:
        """The classifier alone; it shares its layers with this model."""
        return self._hidden.classifier

    @property
    def teacher(self) -> cams.CAM:
        return self._hidden.teacher

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

        Windows and barrier of the loss depend on the epoch that ``fit`` counts and shows. It starts
        at ``initial_epoch`` + 1, so another ``fit`` begins with 1 unless that is given.
        ``evaluate`` and ``train_on_batch`` do not count epochs: they use that of the last ``fit``
        (1 at first), or one set by, for example, ``model.epoch.update_state(3)``.
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

    def freeze(self) -> None:
        """Freeze the classifier; its batch statistics and dropout stay in inference mode."""
        for layer in self._classifier_layers():
            layer.trainable = False
        self.train_function = None  # else ``fit`` goes on with the step that it traced before

    def unfreeze(self, head_only: bool = False) -> None:
        """Also train the classifier, on a cross-entropy term; compile again if ``fit`` ran.

        Args:
            head_only: whether to unfreeze only the linear head.

        Raises:
            ValueError: ``head_only`` is set, but the classifier does not end in a layer with
                weights.
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

    def _classifier_layers(self) -> list[Any]:
        inside = {id(layer) for layer in self.classifier.layers}
        return [layer for layer in self.layers if id(layer) in inside]

    def _classifier_trains(self) -> bool:
        return any(layer.trainable_variables for layer in self._classifier_layers())

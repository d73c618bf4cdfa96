"""Layers that stay frozen, go on where they were, or are faster, where Keras's are not."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf import lazy_tensorflow as tf
from fcam_tf.graphs.replicas import apart

# Of all batch normalisation: PyTorch's default, with which the paper trained. keras-cv has 0.99 and
# more, and after a short training such statistics are still mostly those of the beginning.
BATCH_MOMENTUM = 0.9


class KeepsDraws(keras.layers.Layer):
    """Saves, with a layer's weights, where its random generator stands.

    Keras does not, and a training that goes on later would begin with the first draws again. Put it
    before another layer class; files without that state are read, too.
    """

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if getattr(self, "seed_generator", None) is not None:
            store["draws"] = self.seed_generator.state

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables({key: store[key] for key in store.keys() if key != "draws"})  # noqa: SIM118 - no mapping
        if "draws" in store.keys() and getattr(self, "seed_generator", None) is not None:  # noqa: SIM118
            self.seed_generator.state.assign(store["draws"])


@keras.saving.register_keras_serializable("fcam_tf")
class FreezableDropout(KeepsDraws, keras.layers.Dropout):
    """Dropout that stays off while its ``trainable`` is False.

    Batch normalisation switches to inference when it is frozen; Keras's dropout does not, so a
    frozen classifier would still give other features at each training step. Arguments and shapes
    are those of ``keras.layers.Dropout``.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not (training and self.trainable and self.rate > 0):
            return inputs
        seed = apart(self.seed_generator)
        return keras.random.dropout(inputs, self.rate, noise_shape=self.noise_shape, seed=seed)


@keras.saving.register_keras_serializable("fcam_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, which takes a quarter of the time where it trains on TensorFlow's fused operation.

    Arguments, shapes, weights and results are those of ``keras.layers.BatchNormalization``; so is
    the name of the class, by which files of weights number layers. Inference is Keras's own, and
    all that the operation does not do.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable and mask is None and self._can_fuse(inputs)):
            return super().call(inputs, training=training, mask=mask)
        # The raw operation, as `tf.compat.v1.nn.fused_batch_norm` raises epsilon a little.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # Keras keeps what the batch has; the operation estimates what it was drawn from.
        number = ops.cast(ops.prod(ops.shape(inputs)[:3]), "float32")
        variance = variance * (ops.maximum(number - 1.0, 1.0) / number)
        for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = ops.cast(average, "float32")
            average.assign(old * self.momentum + new * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _can_fuse(self, inputs: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not (self.synchronized or getattr(self, "renorm", False))  # since Keras 3.14
            and self.scale
            and self.center
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float16", "bfloat16")
        )


@keras.saving.register_keras_serializable("fcam_tf")
class SqueezeExcite(keras.layers.Layer):
    """Squeeze and excite (Hu et al., CVPR 2018): channels scaled by a gate of their own means.

    Has the arguments and weights of keras-cv's ``SqueezeAndExcite2D``, whose clone forgets that it
    was frozen: Keras does not tell parts that are made after ``trainable`` is set.
    """

    def __init__(
        self,
        filters: int,
        bottleneck_filters: int,
        squeeze_activation: Any = "relu",
        excite_activation: Any = "sigmoid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(excite_activation, keras.layers.Layer):
            # MobileNetV3's own hard sigmoid makes a new layer, of any dtype, whenever it is called.
            excite_activation = "hard_sigmoid"
        self.pool = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype=self.dtype_policy)
        self.squeeze = keras.layers.Conv2D(
            bottleneck_filters, 1, activation=squeeze_activation, dtype=self.dtype_policy
        )
        self.excite = keras.layers.Conv2D(
            filters, 1, activation=excite_activation, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any) -> None:
        for layer in (self.pool, self.squeeze, self.excite):
            layer.build(input_shape)
            layer.trainable = self.trainable
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs * self.excite(self.squeeze(self.pool(inputs)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.excite.filters,
            "bottleneck_filters": self.squeeze.filters,
            "squeeze_activation": self.squeeze.activation,
            "excite_activation": self.excite.activation,
        }

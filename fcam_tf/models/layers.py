"""The few layers that Keras does not have."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("fcam_tf")
class FreezableDropout(keras.layers.Dropout):
    """Dropout that stays off while its ``trainable`` is False.

    Batch normalisation switches to inference when it is frozen; Keras's dropout does not, so a
    frozen classifier would still give other features at each training step. Arguments and shapes
    are those of ``keras.layers.Dropout``.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=training and self.trainable)

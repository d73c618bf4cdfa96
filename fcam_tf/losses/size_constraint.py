"""The absolute size constraint (ASC): neither object nor background may vanish."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def extended_log_barrier(values: Any, t: Any = 1.0) -> Any:
    """Return the extended log-barrier of ``values <= 0`` (Kervadec et al. 2019).

    ``-log(-f) / t`` where f is at most ``-1 / t^2``, and from there on the straight line that
    continues it: finite and with a gradient for values that break the constraint too.

    Args:
        values: f, any shape.
        t: scalar above 0; the larger, the closer to a hard constraint.

    Returns:
        float32 of the shape of ``values``.
    """
    values = ops.cast(values, "float32")
    t = ops.cast(t, "float32")
    limit = -1.0 / t**2
    # Both sides of a where are differentiated: the logarithm must not see what it cannot take.
    logarithm = -ops.log(-ops.minimum(values, limit)) / t
    line = t * values - ops.log(1.0 / t**2) / t + 1.0 / t
    return ops.where(values <= limit, logarithm, line)


def size_constraint(probabilities: Any, t: Any = 1.0) -> Any:
    """Return the barrier of the sizes of background and object (F-CAM, equation 3).

    The size of a class is the sum of its probability in pixels. The barrier asks that sizes are
    not below 0, and since it falls off slowly it pushes both up: against each other, towards half
    of the image.

    Args:
        probabilities: (B, H, W, 2), background and object, in [0, 1].
        t: of the barrier.

    Returns:
        (B,) float32, the mean of both classes; negative for sizes above one pixel.
    """
    sizes = ops.sum(ops.cast(probabilities, "float32"), axis=(1, 2))
    return ops.mean(extended_log_barrier(-sizes, t), axis=-1)


@keras.saving.register_keras_serializable("fcam_tf")
class SizeConstraint(keras.losses.Loss):
    """`size_constraint` for ``compile``: predictions are probabilities, targets are not read.

    Args:
        weight: factor of the loss.
        t: of the barrier.
        name: of the loss in logs.
    """

    def __init__(self, weight: float = 0.1, t: float = 1.0, name: str = "size_constraint") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.weight = weight
        self.t = t

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002
        return self.weight * size_constraint(y_pred, self.t)

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight, "t": self.t, "name": self.name}

"""The optimisers that recipes use: coupled L2, and layers that learn faster than others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from fcam_tf import checks


class _Coupled(keras.optimizers.Optimizer):
    """What both optimisers add to Keras's: see `CoupledSGD`."""

    def __init__(
        self,
        *args: Any,
        l2: float = 0.0,
        multipliers: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        checks.number("l2", l2, "[0, inf)")
        super().__init__(*args, **kwargs)
        self.l2 = l2
        self.multipliers = dict(multipliers or {})

    def build(self, variables: Any) -> None:
        super().build(variables)
        # Backends hand `update_step` variables of their own, which have no path.
        self._factors = [self.multiplier(variable.path) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.l2:
            gradient = gradient + self.l2 * keras.ops.cast(variable, gradient.dtype)
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def multiplier(self, path: str) -> float:
        """Return the factor of the learning rate for a variable."""
        # "dense_1" must not fit "dense_10": no number is cut in two.
        fitting = [
            prefix
            for prefix in self.multipliers
            if re.search(rf"(?:^|/){re.escape(prefix)}(?!(?<=\d)\d)", path)
        ]
        return self.multipliers[max(fitting, key=len)] if fitting else 1.0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"l2": self.l2, "multipliers": self.multipliers}


class _VelocitySGD(keras.optimizers.SGD):
    """Keras's SGD, but with the learning rate outside of the velocity."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = keras.ops.cast(gradient, variable.dtype)
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity + gradient)
        step = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * step)


@keras.saving.register_keras_serializable("fcam_tf")
class CoupledSGD(_Coupled, _VelocitySGD):
    """SGD as the WSOL benchmark trains, which is PyTorch's.

    Weight decay is part of the gradient, ``g = gradient + l2 * w``; Keras's own ``weight_decay``
    shrinks the weights beside the momentum instead. The velocity does not hold the learning rate:
    ``v = m v + g; w -= lr v``, or with ``nesterov`` ``w -= lr (g + m v)``. Keras's holds it, so
    that after a drop what was gathered before goes on at the old rate, with m = 0.9 for some eight
    steps' way. At one rate both are the same.

    Args:
        learning_rate: step size.
        momentum: m.
        nesterov: whether to look ahead.
        l2: weight decay; applies to every variable that trains, biases and batch normalisation
            among them.
        multipliers: factors of the learning rate by the beginning of a name in a variable's
            path, ``{"logits": 10.0}``; where several fit, the longest counts. "dense_1" fits
            "dense_1/kernel" and "dense_1_a/kernel", not "dense_10/kernel"; "dense/" fits that
            very name alone.
        **kwargs: those of ``keras.optimizers.SGD``.

    Raises:
        ValueError: a negative ``l2``.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        nesterov: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum, nesterov, **kwargs)


@keras.saving.register_keras_serializable("fcam_tf")
class CoupledAdam(_Coupled, keras.optimizers.Adam):
    """Adam with the ``l2`` and ``multipliers`` of `CoupledSGD`.

    Takes these two, and the arguments of ``keras.optimizers.Adam``.

    Raises:
        ValueError: a negative ``l2``.
    """


def optimizer_of(recipe: Any, multipliers: Mapping[str, float] | None = None) -> _Coupled:
    """Return the optimiser of a `fcam_tf.training.Recipe`, with the ``multipliers`` of ours."""
    kind: type[Any] = {"sgd": CoupledSGD, "adam": CoupledAdam}[recipe.optimizer]
    return kind(
        recipe.learning_rate,
        recipe.momentum,
        l2=recipe.weight_decay,
        multipliers=multipliers,
        global_clipnorm=recipe.clip_norm or None,
    )

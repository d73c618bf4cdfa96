"""Runs the compiled step of a Keras model under JAX, for tools/gpu_training.py."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Trainer:
    """Runs the compiled step of a Keras model: warm-up, cosine, averaged weights.

    Args:
        model: compiled.
        draw: ``(key, rows) -> (images, targets)``, compiled, of the numbers of a batch's photos.
        count: number of photos.
        batch_size: photos in a step.
        epochs: passes over them.
        rate: learning rate at its highest.
        most: number of steps at most; None for no limit.
    """

    def __init__(
        self,
        model: Any,
        draw: Any,
        *,
        count: int,
        batch_size: int,
        epochs: float,
        rate: float,
        most: int | None = None,
    ) -> None:
        self.model, self.draw, self.count, self.rate = model, draw, count, rate
        self.batch_size = min(batch_size, count)
        self.per_epoch = count // self.batch_size
        self.steps = min(int(epochs * self.per_epoch), most or 10**9)
        model.optimizer.build(model.trainable_variables)
        self.groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
        )
        self.log: list[dict[str, Any]] = []

    def run(self, due: Callable[[int], bool] = lambda _: False) -> Iterator[int]:
        """Train; yield, with averaged weights in the model, where a step is due and at the end."""
        state = tuple([jnp.array(v.value, v.value.dtype) for v in group] for group in self.groups)
        averaged = jax.tree.map(jnp.copy, state[:2])
        step = jax.jit(self._step, donate_argnums=(0, 1))
        order, begin = np.zeros(0, np.int64), None
        for number in range(self.steps):
            if len(order) < self.batch_size:
                order = np.random.default_rng(number).permutation(self.count)
            rows, order = np.split(order, [self.batch_size])
            x, y = self.draw(jax.random.key(number), rows)
            share = number / self.steps
            rate = self.rate * min(1, (share + 1e-3) / 0.05) * 0.5 * (1 + math.cos(math.pi * share))
            decay = min(0.999, (1 + number) / (10 + number))
            epoch = 1.0 + number // self.per_epoch
            now = {"rate": rate, "decay": decay, "epoch": epoch}
            loss, state, averaged = step(state, averaged, x, y, now)
            last = number == self.steps - 1
            if number % 100 == 0 or last:
                loss = float(loss)
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} in step {number}")
                begin = begin or (time.perf_counter(), number)
                seconds = time.perf_counter() - begin[0]
                speed = (number - begin[1]) * self.batch_size / max(seconds, 1e-9)
                self.log.append({"step": number, "loss": loss, "images_per_second": round(speed)})
                if number % 1000 == 0 or last:
                    print(self.model.name, f"{seconds:.0f} s", self.log[-1], flush=True)
            if last or due(number):
                for variables, values in zip(self.groups[:2], averaged, strict=True):
                    for variable, value in zip(variables, values, strict=True):
                        variable.assign(jnp.copy(value))  # the next step takes this one's place
                yield number

    def _step(self, state: Any, averaged: Any, x: Any, y: Any, now: dict[str, Any]) -> Any:
        self._set(state[2], self.groups[2], self.model.optimizer.learning_rate, now["rate"])
        # New ones in each step, so that the loss is that of the step.
        variables = self.model.metrics_variables
        counters = [variable.value for variable in variables]
        if hasattr(self.model, "epoch"):
            self._set(counters, variables, self.model.epoch.value, now["epoch"])
        before = state
        logs, state = self.model.train_step((*state, counters), (x, y))
        state = state[:3]
        # The very types and containers that came in, so that nothing is compiled twice.
        leaves = zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True)
        state = jax.tree.unflatten(
            jax.tree.structure(before), [jnp.asarray(new, old.dtype) for old, new in leaves]
        )

        def average(old: Any, new: Any) -> Any:
            if not jnp.issubdtype(new.dtype, jnp.floating):
                return new
            return jnp.asarray(now["decay"] * old + (1 - now["decay"]) * new, new.dtype)

        return logs["loss"], state, jax.tree.map(average, averaged, (state[0], state[1]))

    @staticmethod
    def _set(values: list[Any], variables: list[Any], wanted: Any, value: Any) -> None:
        place = next(i for i, variable in enumerate(variables) if variable is wanted)
        values[place] = jnp.asarray(value, values[place].dtype)

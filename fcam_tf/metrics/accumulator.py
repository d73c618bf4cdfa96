"""What our metrics share: sums that grow with every image and can be merged."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np

from fcam_tf.metrics.measures import threshold_grid


class Accumulator(keras.metrics.Metric):
    """A metric whose state is a set of named float64 sums (counts are exact to 2**53).

    The sums are NumPy arrays: as Keras variables they would be float32 under JAX, and counts beyond
    2**24 pixels would be wrong. ``interval`` is the step of the threshold grid, ``shapes`` are the
    shapes of the sums.
    """

    def __init__(self, interval: float, name: str, **shapes: tuple[int, ...]) -> None:
        super().__init__(name=name, dtype="float64")
        self.interval = interval
        self.thresholds = threshold_grid(interval)
        self._sums = {key: np.zeros(shape) for key, shape in shapes.items()}

    def reset_state(self) -> None:
        """Forgets all images."""
        self._sums = {key: np.zeros_like(value) for key, value in self._sums.items()}

    def merge_state(self, metrics: Iterable[Self]) -> None:
        """Adds what other metrics with the same settings have counted, e.g. in other workers.

        Raises:
            ValueError: if one is of another class or has other settings.
        """
        metrics = list(metrics)
        mine = self.get_config() | {"name": None}
        for other in metrics:
            if type(other) is not type(self) or other.get_config() | {"name": None} != mine:
                raise ValueError(
                    f"cannot merge {type(other).__name__} {other.get_config()} "
                    f"into {type(self).__name__} {self.get_config()}."
                )
        for other in metrics:
            self._add(**other._sums)  # noqa: SLF001 - of the same class

    def get_config(self) -> dict[str, Any]:
        """Arguments to rebuild the metric."""
        return {"interval": self.interval, "name": self.name}

    def _add(self, **amounts: Any) -> None:
        for key, amount in amounts.items():
            self._sums[key] = self._sums[key] + amount


def as_batch(
    ids: Sequence[str] | None, **columns: Iterable[Any]
) -> tuple[list[str], list[list[Any]]]:
    """Lists the images' names and each column, after checking that the lengths agree.

    Tensors of Keras's backend become arrays.
    """
    lists = {name: [*map(array_of, array_of(column))] for name, column in columns.items()}
    count = len(next(iter(lists.values())))
    names = [f"image {i}" for i in range(count)] if ids is None else list(ids)
    found = {name: len(items) for name, items in (lists | {"ids": names}).items()}
    if len({*found.values()}) > 1:
        lengths = ", ".join(f"{length} {name}" for name, length in found.items())
        raise ValueError(f"one entry is needed for each image. Received: {lengths}.")
    return names, list(lists.values())


def array_of(values: Any) -> Any:
    """Returns a tensor of Keras's backend as a NumPy array, and all else as it is.

    NumPy itself reads no tensors of PyTorch that have a gradient, are on a GPU or bfloat16.
    """
    return keras.ops.convert_to_numpy(values) if keras.ops.is_tensor(values) else values

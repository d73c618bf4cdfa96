"""The loss that F-CAM minimises: its terms, their weights, and when each term is on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, get_args

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.losses.crf import Method, crf_loss
from fcam_tf.losses.seeds import SeedSampling
from fcam_tf.losses.terms import cross_entropy, entropy, partial_cross_entropy, size_constraint
from fcam_tf.names import current, lookup


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the terms of `FCAMLoss` are computed from."""

    images: Any  # (B, H, W, 3) raw RGB in [0, 255], as the model saw them
    maps: Any  # (B, H, W, 2) logits, background and object
    epoch: Any  # scalar, counting from 1
    cams: Any = None  # (B, H, W) coarse maps in [0, 1]; None where the seeds have no weight
    seed: Any = 0  # int or SeedGenerator, see `SeedSampling`
    # (B, H, W) integers, 1 object, 0 background, 255 ignored; None where they have no weight.
    masks: Any = None
    # (B,) or (B, classes) integers, see `cross_entropy`; None where no part of the classifier
    # trains.
    labels: Any = None
    logits: Any = None  # (B, classes); None with ``labels``
    activation: str = "softmax"  # or "sigmoid", of the logits

    @cached_property
    def probabilities(self) -> Any:
        """The softmax of the maps, (B, H, W, 2) float32, computed as a sigmoid of differences."""
        maps = ops.cast(self.maps, "float32")
        return ops.sigmoid(maps - ops.flip(maps, axis=-1))  # a third of the softmax's time


def _term(weight: float, compute: Callable[[FCAMLoss, Batch], Any]) -> Any:
    """Declare a term by its default weight and what computes it, (B,) float32."""
    return dataclasses.field(default=weight, metadata={"compute": compute})


def _seeds(loss: FCAMLoss, batch: Batch) -> Any:
    return partial_cross_entropy(batch.maps, loss.sample_seeds(batch.cams, batch.seed))


def _crf(loss: FCAMLoss, batch: Batch) -> Any:
    return crf_loss(
        batch.images,
        batch.probabilities,
        loss.sigma_rgb,
        loss.sigma_xy,
        scale=loss.crf_scale,
        method=loss.crf_method,
    )


@keras.saving.register_keras_serializable("fcam_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FCAMLoss(SeedSampling):
    """F-CAM's objective (equation 4): seeds + CRF + size constraint.

    The attributes of `SeedSampling` control how seeds are drawn. A weight of 0 leaves its term out.
    Epochs count from 1.

    Attributes:
        seeds: weight of the partial cross-entropy on sampled seeds (SR).
        crf: weight of `crf_loss`; the default belongs to 224x224 pixels.
        size: weight of the absolute size constraint (ASC).
        entropy: weight of the entropy of the maps; the paper does not have this term.
        masks: weight of the cross-entropy of all pixels against masks of the object. This is the
            full supervision that the paper compares with.
        classification: weight of the cross-entropy of the logits. It is used only while some part
            of the classifier trains.
        windows: first and last epoch in which a term is on, for example ``{"crf": (5, None)}``;
            None as the last means no end. Terms that are not named are always on.
        sigma_rgb: sigma of the CRF over colour, in grey levels.
        sigma_xy: sigma of the CRF over position, in pixels.
        crf_scale: see `crf_loss`.
        crf_method: see `crf_loss`.
        barrier_t: t of the log-barrier of the size constraint in the first epoch.
        barrier_growth: factor by which t grows from epoch to epoch.
        barrier_max: largest t.

    Raises:
        ValueError: an argument is out of its range, or ``windows`` names an unknown term.
        TypeError: an argument is of another type.

    Examples:
        >>> loss = fcam_tf.losses.FCAMLoss(crf=2.4e-8, windows={"crf": (2, None)})
        >>> model.compile(keras.optimizers.Adam(0.001), loss)
        >>> history = model.fit(images, np.array([0, 2]), epochs=2, verbose=0).history
        >>> len(history["seeds_loss"])
        2
    """

    seeds: float = _term(1.0, _seeds)
    crf: float = _term(2e-9, _crf)
    size: float = _term(
        0.1, lambda loss, batch: size_constraint(batch.probabilities, loss.barrier(batch.epoch))
    )
    entropy: float = _term(0.0, lambda _, batch: entropy(batch.maps))
    masks: float = _term(0.0, lambda _, batch: partial_cross_entropy(batch.maps, batch.masks))
    classification: float = _term(
        1.0, lambda _, batch: cross_entropy(batch.labels, batch.logits, batch.activation)
    )
    windows: Mapping[str, tuple[int, int | None]] = dataclasses.field(
        default_factory=dict, hash=False
    )
    sigma_rgb: float = 15.0
    sigma_xy: float = 100.0
    crf_scale: float = 1.0
    crf_method: Method = "lattice"
    barrier_t: float = 1.0
    barrier_growth: float = 1.01
    barrier_max: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, weight in self.weights.items():
            checks.number(name, weight, "[0, inf)")
        crf, barrier = ("sigma_rgb", "sigma_xy", "crf_scale"), ("t", "growth", "max")
        for name in (*crf, *(f"barrier_{name}" for name in barrier)):
            checks.number(name, getattr(self, name), "(0, inf)")
        checks.choice("crf_method", self.crf_method, get_args(Method))
        object.__setattr__(self, "windows", _checked_windows(self.windows))

    @property
    def weights(self) -> dict[str, float]:
        """The weights of all terms, by name."""
        return {name: getattr(self, name) for name in TERMS}

    def terms(self, batch: Batch) -> dict[str, Any]:
        """Compute the weighted terms that are in use.

        Returns:
            The terms by name, (B,) float32, already weighted; 0 outside a term's window.
        """
        used = {name: compute for name, compute in TERMS.items() if self.weights[name]}
        if batch.labels is None:
            used.pop("classification", None)
        return {
            name: self.weight(name, batch.epoch) * compute(self, batch)
            for name, compute in used.items()
        }

    def weight(self, name: str, epoch: Any) -> Any:
        """Return the weight of a term in an epoch, 0 outside its window."""
        weight = self.weights[name]
        if name not in self.windows:
            return weight
        first, last = self.windows[name]
        on = epoch >= first if last is None else ops.logical_and(epoch >= first, epoch <= last)
        return weight * ops.cast(on, "float32")

    def barrier(self, epoch: Any) -> Any:
        """Return t of the log-barrier in an epoch, a float32 scalar."""
        grown = ops.power(self.barrier_growth, ops.cast(epoch, "float32") - 1.0)
        return ops.minimum(self.barrier_t * grown, self.barrier_max)

    def get_config(self) -> dict[str, Any]:
        windows = {name: list(window) for name, window in self.windows.items()}
        return {**dataclasses.asdict(self), "windows": windows}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FCAMLoss:
        return cls(**current(config))


TERMS: Mapping[str, Callable[[FCAMLoss, Batch], Any]] = {
    field.name: field.metadata["compute"]
    for field in dataclasses.fields(FCAMLoss)
    if "compute" in field.metadata
}


def _checked_windows(windows: Any) -> dict[str, tuple[int, int | None]]:
    if not isinstance(windows, Mapping):
        raise TypeError(f"`windows` must map terms to (first, last) epochs. Received: {windows!r}.")
    for name, window in windows.items():
        lookup(TERMS, name, "term of windows")
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise ValueError(
                f"`windows` must give each term its (first, last) epoch, last None for no end. "
                f"Received: {window!r} for {name!r}."
            )
        first, last = window
        checks.whole(f"windows[{name!r}]", first, 1)
        if last is not None:
            checks.whole(f"windows[{name!r}]", last, first)
    return {name: tuple(window) for name, window in windows.items()}

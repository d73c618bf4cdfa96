"""The total that F-CAM minimises: its terms, their weights, and when each one is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from fcam_tf.losses import checks
from fcam_tf.losses.crf import METHODS, crf_loss
from fcam_tf.losses.entropy import entropy
from fcam_tf.losses.partial_cross_entropy import partial_cross_entropy
from fcam_tf.losses.seeds import check_sampling, sample_seeds
from fcam_tf.losses.size_constraint import size_constraint

TERMS = ("seeds", "crf", "size", "entropy", "classification", "masks")


@keras.saving.register_keras_serializable("fcam_tf")
class FCAMLoss:
    """F-CAM's objective (equation 4): seeds + CRF + size constraint.

    A weight of 0 leaves its term out. Epochs count from 1.

    Args:
        seeds: weight of the partial cross-entropy on sampled seeds (SR).
        crf: weight of `crf_loss`; the default belongs to 224x224 pixels.
        size: weight of the absolute size constraint (ASC).
        entropy: weight of the entropy of the maps; the paper has none.
        classification: weight of the cross-entropy of the logits. It counts only while some part
            of the classifier trains.
        masks: weight of the cross-entropy of all pixels against masks of the object: full
            supervision, which the paper compares with.
        windows: first and last epoch in which a term is on, ``{"crf": (5, None)}``; None has no
            end. Terms that are not named are always on.
        positives: object pixels drawn from each map, before dilation.
        negatives: background pixels drawn from each map, before dilation.
        kernel: side of the square that each drawn pixel becomes.
        negative_share: n-, the share of the pixels, those of lowest activation, that background is
            drawn from.
        erosion: side of the square that erodes the object region, in pixels.
        erosion_iterations: how often it does.
        sigma_rgb: of the CRF, in grey levels.
        sigma_xy: of the CRF, in pixels.
        crf_scale: see `crf_loss`.
        crf_method: see `crf_loss`.
        barrier_t: t of the log-barrier of the size constraint in the first epoch.
        barrier_growth: factor of t from epoch to epoch.
        barrier_max: largest t.

    Raises:
        ValueError: an argument is out of its range, or an unknown term in ``windows``.
        TypeError: an argument is of another type.
    """

    def __init__(
        self,
        *,
        seeds: float = 1.0,
        crf: float = 2e-9,
        size: float = 0.1,
        entropy: float = 0.0,
        classification: float = 1.0,
        masks: float = 0.0,
        windows: Mapping[str, tuple[int, int | None]] | None = None,
        positives: int = 1,
        negatives: int = 1,
        kernel: int = 3,
        negative_share: float = 0.1,
        erosion: int = 11,
        erosion_iterations: int = 1,
        sigma_rgb: float = 15.0,
        sigma_xy: float = 100.0,
        crf_scale: float = 1.0,
        crf_method: Literal["lattice", "exact"] = "lattice",
        barrier_t: float = 1.0,
        barrier_growth: float = 1.01,
        barrier_max: float = 10.0,
    ) -> None:
        weights = (seeds, crf, size, entropy, classification, masks)
        self.weights = dict(zip(TERMS, weights, strict=True))
        for name, weight in self.weights.items():
            checks.weight(name, weight)
        self.windows = _checked_windows({} if windows is None else windows)
        self.sampling = {
            "positives": positives,
            "negatives": negatives,
            "kernel": kernel,
            "negative_share": negative_share,
            "erosion": erosion,
            "erosion_iterations": erosion_iterations,
        }
        check_sampling(**self.sampling)
        positive = {
            "sigma_rgb": sigma_rgb,
            "sigma_xy": sigma_xy,
            "crf_scale": crf_scale,
            "barrier_t": barrier_t,
            "barrier_growth": barrier_growth,
            "barrier_max": barrier_max,
        }
        for name, value in positive.items():
            checks.positive(name, value)
        checks.choice("crf_method", crf_method, METHODS)
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.crf_scale = crf_scale
        self.crf_method = crf_method
        self.barrier_t = barrier_t
        self.barrier_growth = barrier_growth
        self.barrier_max = barrier_max

    def terms(
        self, images: Any, maps: Any, cams: Any, seed: Any, epoch: Any, *, masks: Any = None
    ) -> dict[str, Any]:
        """Compute the weighted terms that concern the maps.

        Args:
            images: (B, H, W, 3) raw RGB in [0, 255], as the model saw them.
            maps: (B, H, W, 2) logits, background and object.
            cams: (B, H, W) coarse maps in [0, 1]; None where the seeds have no weight.
            seed: int or SeedGenerator, see `sample_seeds`.
            epoch: scalar, counting from 1.
            masks: (B, H, W) integers, 1 object, 0 background, 255 ignored; None where they have no
                weight.

        Returns:
            By name (B,) float32, already weighted; 0 outside a term's window.
        """
        maps = ops.cast(maps, "float32")
        probabilities = ops.softmax(maps)
        compute = {
            "seeds": lambda: partial_cross_entropy(maps, sample_seeds(cams, seed, **self.sampling)),
            "crf": lambda: crf_loss(
                images,
                probabilities,
                self.sigma_rgb,
                self.sigma_xy,
                scale=self.crf_scale,
                method=self.crf_method,
            ),
            "size": lambda: size_constraint(probabilities, self.barrier(epoch)),
            "entropy": lambda: entropy(maps),
            "masks": lambda: partial_cross_entropy(maps, masks),
        }
        return {
            name: self.weight(name, epoch) * term()
            for name, term in compute.items()
            if self.weights[name]
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
        return {
            **self.weights,
            "windows": {name: list(window) for name, window in self.windows.items()},
            **self.sampling,
            "sigma_rgb": self.sigma_rgb,
            "sigma_xy": self.sigma_xy,
            "crf_scale": self.crf_scale,
            "crf_method": self.crf_method,
            "barrier_t": self.barrier_t,
            "barrier_growth": self.barrier_growth,
            "barrier_max": self.barrier_max,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FCAMLoss:
        return cls(**config)


def _checked_windows(windows: Any) -> dict[str, tuple[int, int | None]]:
    if not isinstance(windows, Mapping):
        raise TypeError(f"`windows` must map terms to (first, last) epochs. Received: {windows!r}.")
    unknown = [name for name in windows if name not in TERMS]
    if unknown:
        raise ValueError(f"`windows` names no terms: {unknown}. There is {TERMS}.")
    for name, window in windows.items():
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

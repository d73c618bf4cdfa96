"""pydensecrf's `DenseCRF2D` with its axes, classes first and pixels flat: see docs/dense_crf.md."""

# ruff: noqa: N802, N803, PLR0917 - the names and places are pydensecrf's
from __future__ import annotations

from typing import Any

import numpy as np

from fcam_tf import checks
from fcam_tf.ops import dense_crf
from fcam_tf.ops.mean_field import MeanField

DIAG_KERNEL, NORMALIZE_SYMMETRIC = "diagonal", "symmetric"  # the defaults; there are no others here


class DenseCRF2D:
    """A CRF over the pixels of an image, with at most one Gaussian and one bilateral kernel."""

    def __init__(self, w: int, h: int, nlabels: int) -> None:
        for name, value in (("w", w), ("h", h), ("nlabels", nlabels)):
            checks.whole(name, value, 1)
        self._maps = np.zeros((1, h, w, nlabels), np.float32)
        self._terms: dict[str, Any] = dict.fromkeys(("bilateral", "spatial", "compatibility"))
        self._terms["images"] = np.zeros((1, h, w, 3), np.uint8)

    def setUnaryEnergy(self, u: Any) -> None:
        """Set the energies, (nlabels, h * w)."""
        self._maps = self._batch(u)

    def addPairwiseGaussian(
        self,
        sxy: Any,
        compat: Any,
        kernel: str = DIAG_KERNEL,
        normalization: str = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add the spatial kernel: sigma in pixels; weight, (nlabels,) or (nlabels, nlabels)."""
        self._add("spatial", compat, [sxy], (kernel, normalization))

    def addPairwiseBilateral(
        self,
        sxy: Any,
        srgb: Any,
        rgbim: Any,
        compat: Any,
        kernel: str = DIAG_KERNEL,
        normalization: str = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add the bilateral kernel of an image, (h, w, 3): sigmas in pixels and grey levels."""
        height, width = self._maps.shape[1:3]
        if np.shape(rgbim) not in ((height, width, 3), (height, width, 1)):
            raise ValueError(
                f"`rgbim` must be ({height}, {width}, 3), height first: DenseCRF2D takes the width "
                f"first. Received: shape {np.shape(rgbim)}."
            )
        self._add("bilateral", compat, [sxy, srgb], (kernel, normalization))
        self._terms["images"] = np.asarray(rgbim)[None]

    def inference(self, niter: int) -> np.ndarray:
        """Return the marginals, (nlabels, h * w) float32."""
        return self._flat(dense_crf(unaries=self._maps, iterations=niter, **self._terms))

    def startInference(self) -> tuple[np.ndarray, None, None]:
        """Return the marginals before the first step, and two placeholders."""
        return self.inference(0), None, None

    def stepInference(self, Q: np.ndarray, tmp1: Any = None, tmp2: Any = None) -> None:
        """Update the marginals in place."""
        del tmp1, tmp2
        Q[:] = self._flat(MeanField(**self._terms).step(self._maps, self._batch(Q)))

    def klDivergence(self, Q: Any) -> float:
        """Return how far marginals are from the CRF, up to a constant."""
        q = self._batch(Q)
        energies = self._maps + MeanField(**self._terms).pairwise(q) + np.log(np.maximum(q, 1e-20))
        return float(np.sum(q * energies, dtype=np.float64))

    def _add(self, name: str, compat: Any, sigmas: list[Any], kinds: tuple[str, ...]) -> None:
        if self._terms[name] or not {DIAG_KERNEL, NORMALIZE_SYMMETRIC}.issuperset(kinds):
            raise ValueError(f"one {name} kernel is allowed, of the default kind and norm.")
        if any(len(set(np.ravel(sigma))) != 1 for sigma in sigmas):
            raise ValueError(f"a sigma must be the same on all axes. Received: {sigmas}.")
        matrix: Any = np.asarray(compat, np.float32) if np.ndim(compat) else None
        if matrix is not None:
            matrix = np.diag(matrix) if matrix.ndim == 1 else (matrix + matrix.T) / 2
        other = self._terms["bilateral"] or self._terms["spatial"]
        if other and not np.array_equal(matrix, self._terms["compatibility"]):
            raise ValueError("`compat` must be numbers for both kernels, or one matrix for both.")
        self._terms["compatibility"] = matrix
        weight = float(compat) if matrix is None else 1.0
        self._terms[name] = (weight, *(float(np.ravel(sigma)[0]) for sigma in sigmas))

    def _batch(self, flat: Any) -> np.ndarray:
        _, height, width, classes = self._maps.shape
        if np.shape(flat) != (classes, height * width):
            raise ValueError(
                f"energies and marginals must be (nlabels, h * w), here ({classes}, "
                f"{height * width}). Received: shape {np.shape(flat)}."
            )
        return np.asarray(flat, np.float32).T.reshape(self._maps.shape)

    def _flat(self, batch: Any) -> np.ndarray:
        return np.reshape(batch, (-1, self._maps.shape[-1])).T

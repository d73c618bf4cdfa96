"""CAM methods that weight the feature maps by class weights or by gradients of the logit."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.cams.base import CAM, normalize, weighted_sum
from fcam_tf.cams.split_classifier import Evidence
from fcam_tf.graphs.replicas import apart
from fcam_tf.graphs.resize import resize

_SPACE = (1, 2)


class EvidenceCAM(CAM):
    """A method that needs one forward pass: the feature maps and the logit's gradient."""

    @abc.abstractmethod
    def combine(self, evidence: Evidence) -> Any:
        """Return the maps before normalisation, (B, h, w)."""

    @property
    def needs_only_features(self) -> bool:
        return self.split.is_linear and not self.averages

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        evidence = self.split(images, labels)
        return self.combine(evidence), evidence.logits

    def from_features(self, features: Any, labels: Any, logits: Any) -> Any:
        return normalize(self.combine(self.split.linear_evidence(features, labels, logits)))


class ClassActivationMap(EvidenceCAM):
    """CAM (Zhou et al., CVPR 2016), the ``CAM*`` of the F-CAM tables.

    ``M = sum_k w_k A_k``, where w are the head's weights for the class. Negative evidence is kept:
    there is no ReLU. The model must end in global average pooling and one dense layer.

    Example:
        >>> cam = fcam_tf.cams.get("cam", classifier)
        >>> maps = cam(images, labels)  # (B, h, w)
    """

    name = "cam"

    def __init__(self, model: keras.Model, layer: Any = None, **options: Any) -> None:
        super().__init__(model, layer, **options)
        if not self.split.is_linear:
            raise ValueError(
                "`cam` needs a model that ends in global average pooling and one dense layer on "
                "the feature map. Received another head or an earlier `layer`; 'gradcam' and "
                "'layercam' explain any model."
            )

    def combine(self, evidence: Evidence) -> Any:
        # The gradient is w / (h w), which min-max cannot tell from w.
        return weighted_sum(evidence.gradients[0], evidence.activations[0])


class GradientCAM(EvidenceCAM):
    """``M = ReLU(sum_k weight_k A_k)``; each method has its own weights."""

    @abc.abstractmethod
    def weights(self, activations: Any, gradients: Any) -> Any:
        """Weight the channels, (B, 1, 1, C), or each cell of them, (B, h, w, C).

        Activations are A, gradients are g = dY/dA, see `Evidence`. A factor common to all channels
        does not matter.
        """

    def combine(self, evidence: Evidence) -> Any:
        return self._weighted(evidence.activations[0], evidence.gradients[0])

    def _weighted(self, activations: Any, gradients: Any) -> Any:
        return self.rectified(weighted_sum(self.weights(activations, gradients), activations))


class GradCAM(GradientCAM):
    """Grad-CAM (Selvaraju et al., ICCV 2017): weight_k = mean over cells of g_k."""

    name = "gradcam"

    def weights(self, activations: Any, gradients: Any) -> Any:  # noqa: ARG002
        return ops.mean(gradients, axis=_SPACE, keepdims=True)


class HiResCAM(GradientCAM):
    """HiResCAM (Draelos and Carin, arXiv 2011.08891, 2020): ``M = ReLU(sum_k g_k A_k)``.

    Each cell is weighted by its own gradient. The paper's formula has no ReLU; the authors' code
    (rachellea/hirescam) applies it to the result, as to that of Grad-CAM. With ``relu=False`` and a
    linear head, the cells add up to the logit without its bias.

    Raises:
        ValueError: the tokens are normalised next, so all products add up to zero.
    """

    name = "hirescam"

    def __init__(self, model: keras.Model, layer: Any = None, **options: Any) -> None:
        super().__init__(model, layer, **options)
        self.split.refuse_cancelling_products(self.name)

    def weights(self, activations: Any, gradients: Any) -> Any:  # noqa: ARG002
        return gradients


class ElementwiseGradCAM(EvidenceCAM):
    """Element-wise Grad-CAM: ``M = sum_k ReLU(g_k A_k)``.

    There is no paper; the formula is that of pytorch-grad-cam (Gildenblat et al., 2021). Without
    the ReLU the method is HiResCAM.
    """

    name = "gradcamelementwise"

    def combine(self, evidence: Evidence) -> Any:
        product = evidence.gradients[0] * evidence.activations[0]
        return weighted_sum(1.0, ops.relu(product))


class GradCAMPlusPlus(GradientCAM):
    """Grad-CAM++ (Chattopadhyay et al., WACV 2018).

    Args, beside those of `CAM`:
        formula: "tables" (the default) is the formula that the F-CAM tables were measured with.
            Their code loses the division by 2 g^2 + g^3 sum(A), which leaves weight_k = mean of g^2
            ReLU(g). It localises better, and comparisons with the published numbers need it.
            "published" is the formula of the Grad-CAM++ paper, with alpha = g^2 / (2 g^2 + g^3
            sum(A)).

    Raises:
        ValueError: ``formula`` is unknown.
    """

    name = "gradcampp"

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        formula: Literal["tables", "published"] = "tables",
        **options: Any,
    ) -> None:
        super().__init__(model, layer, **options)
        checks.choice("formula", formula, ("tables", "published"))
        self.formula = formula

    def weights(self, activations: Any, gradients: Any) -> Any:
        if self.formula == "published":
            # alpha = g^2 / (2 g^2 + g^3 sum(A)) with g^2 cancelled; where g < 0, ReLU(g) is 0.
            total = ops.sum(activations, axis=_SPACE, keepdims=True)
            positive = ops.relu(gradients)
            return ops.mean(positive / (2.0 + positive * total), axis=_SPACE, keepdims=True)
        # g^3 of a mean over 28 x 28 cells underflows; a common factor does not matter.
        largest = ops.max(ops.abs(gradients), axis=(1, 2, 3), keepdims=True)
        g = gradients / ops.where(largest > 0, largest, 1.0)
        return ops.mean(ops.square(g) * ops.relu(g), axis=_SPACE, keepdims=True)


class SmoothGradCAMPlusPlus(CAM):
    """Smooth Grad-CAM++ (Omeiza et al., 2019), as the F-CAM tables were measured.

    In g^2 and g^3, gradients are averaged over noisy copies of the image. sum(A) comes from the
    clean image, and A and ReLU(g) come from the last copy. New noise is drawn at each call.

    Args, beside those of `CAM`:
        samples: number of noisy copies.
        noise_level: standard deviation of the noise, as a fraction of the image's own range. The
            default is the tables' 0.3 after ImageNet normalisation (0.3 * 0.226) and holds for
            models that take [0, 255], [0, 1] or [-1, 1].
        seed: seed of the noise.

    Raises:
        ValueError: ``samples`` below 1 or a negative ``noise_level``.
    """

    name = "smoothgradcampp"

    def __init__(
        self,
        model: keras.Model,
        layer: Any = None,
        *,
        samples: int = 4,
        noise_level: float = 0.068,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        checks.whole("samples", samples, 1)
        checks.number("noise_level", noise_level, "[0, inf)")
        super().__init__(model, layer, **options)
        self.samples = samples
        self.noise_level = noise_level
        self.draws = keras.random.SeedGenerator(seed, name="draws")

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:
        clean = self.split(images, labels)
        axes = (1, 2, 3)
        span = ops.max(images, axes, keepdims=True) - ops.min(images, axes, keepdims=True)
        squares = cubes = 0.0
        # Under a linear head all copies have the same gradient, so only the last one is run.
        runs = self.samples if not self.split.is_linear else 1
        for _ in range(runs):
            noise = keras.random.normal(ops.shape(images), dtype="float32", seed=apart(self.draws))
            noise = ops.cast(noise, images.dtype)
            noisy = self.split(images + self.noise_level * span * noise, clean.labels)
            squares += ops.square(noisy.gradients[0]) / runs
            cubes += noisy.gradients[0] ** 3 / runs
        total = ops.sum(clean.activations[0], axis=_SPACE, keepdims=True)
        alpha = squares / (2.0 * squares + cubes * total)
        weights = alpha * ops.relu(noisy.gradients[0])
        weights = ops.mean(ops.where(squares > 0, weights, 0.0), axis=_SPACE, keepdims=True)
        return self.rectified(weighted_sum(weights, noisy.activations[0])), clean.logits


class XGradCAM(GradientCAM):
    """XGrad-CAM (Fu et al., BMVC 2020): weight_k = sum(g_k A_k) / sum(A_k) over cells.

    If g is the same in all cells (a linear head), this is Grad-CAM without the dead channels.
    """

    name = "xgradcam"

    def weights(self, activations: Any, gradients: Any) -> Any:
        total = ops.sum(activations, axis=_SPACE, keepdims=True)
        alive = total != 0
        weights = ops.sum(gradients * activations, axis=_SPACE, keepdims=True)
        return ops.where(alive, weights / ops.where(alive, total, 1.0), 0.0)


class LayerCAM(GradientCAM):
    """LayerCAM (Jiang et al., TIP 2021): each cell weighted by the ReLU of its own gradient.

    Several layers, such as ``["P4", "P5"]``, are fused as in the paper: each map is stretched to
    [0, 1], becomes tanh(2 M) and is scaled to the finest of them; each cell keeps the largest
    value.
    """

    name = "layercam"
    fuses = True
    gain: ClassVar[float] = 2.0

    def weights(self, activations: Any, gradients: Any) -> Any:  # noqa: ARG002
        return ops.relu(gradients)

    def combine(self, evidence: Evidence) -> Any:
        if len(evidence.activations) == 1:
            return super().combine(evidence)
        sizes = [ops.shape(a)[1:3] for a in evidence.activations]
        size = tuple(
            max(axis) if all(isinstance(n, int) for n in axis) else ops.max(ops.stack(axis))
            for axis in zip(*sizes, strict=True)
        )
        fused = 0.0
        for activations, gradients in zip(evidence.activations, evidence.gradients, strict=True):
            maps = normalize(self._weighted(activations, gradients))
            maps = ops.tanh(self.gain * maps)[..., None]
            maps = resize(maps, size)[..., 0]
            fused = ops.maximum(fused, maps)
        return fused

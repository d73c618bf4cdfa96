"""CAM methods that take the first principal component of the feature maps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fcam_tf.cams.base import weighted_sum
from fcam_tf.cams.gradient import EvidenceCAM
from fcam_tf.cams.split_classifier import Evidence


def first_component(maps: Any) -> Any:
    """Project the cells of maps onto their first right singular vector.

    Maps are taken as a matrix of cells by channels, which is not centred. A singular value
    decomposition leaves the sign open; it is chosen so that the result agrees with the sum over
    channels.

    Args:
        maps: (B, h, w, C); NaN and infinite values count as zero.

    Returns:
        (B, h, w) float32.
    """
    maps = ops.cast(maps, "float32")
    maps = ops.where(ops.isfinite(maps), maps, 0.0)
    _, height, width, channels = ops.shape(maps)
    matrix = ops.reshape(maps, (-1, height * width, channels))
    # In units of the largest value, or the squares of small gradients would vanish.
    largest = ops.max(ops.abs(maps), axis=(1, 2, 3), keepdims=True)
    maps = maps / ops.where(largest > 0, largest, 1.0)
    matrix = ops.reshape(maps, (-1, height * width, channels))
    turned = ops.transpose(matrix, (0, 2, 1))
    known = isinstance(height, int) and isinstance(width, int)
    if known and height * width < channels:  # the smaller of the two matrices of products
        _, vectors = ops.eigh(ops.matmul(matrix, turned))
        direction = ops.matmul(turned, vectors[:, :, -1:])[:, :, 0]
        length = ops.sqrt(ops.sum(ops.square(direction), axis=-1, keepdims=True))
        direction = direction / ops.where(length > 0, length, 1.0)
    else:
        _, vectors = ops.eigh(ops.matmul(turned, matrix))
        direction = vectors[:, :, -1]
    projected = weighted_sum(direction[:, None, None, :], maps)
    agreement = ops.sum(projected * ops.sum(maps, axis=-1), axis=(1, 2), keepdims=True)
    return ops.where(agreement < 0, -projected, projected) * largest[..., 0]


class EigenCAM(EvidenceCAM):
    """Eigen-CAM (Bany Muhammad and Yeasin, IJCNN 2020): ``M = A v``, where ``A = U S V^T``.

    A is the matrix of cells by channels, and v the first column of V. The map shows what stands out
    in the feature maps, whatever the class, and needs neither labels nor gradients. The paper
    leaves the sign of v open and has no ReLU; pytorch-grad-cam centres A first and takes the ReLU.
    """

    name = "eigencam"

    def raw_maps(self, images: Any, labels: Any) -> tuple[Any, Any]:  # noqa: ARG002
        maps, logits = self.split.maps_and_logits(images)
        return first_component(self.split.as_maps(maps)[0]), logits

    def combine(self, evidence: Evidence) -> Any:
        return first_component(evidence.activations[0])


class EigenGradCAM(EvidenceCAM):
    """Eigen-Grad-CAM: `EigenCAM` of g A, each cell's gradient times its activation.

    There is no paper; the method comes from pytorch-grad-cam. The sign is chosen so that the map
    agrees with ``sum_k g_k A_k``.

    Raises:
        ValueError: the tokens are normalised next, so this sum is zero.
    """

    name = "eigengradcam"

    def __init__(self, model: keras.Model, layer: Any = None, **options: Any) -> None:
        super().__init__(model, layer, **options)
        self.split.refuse_cancelling_products(self.name)

    def combine(self, evidence: Evidence) -> Any:
        return first_component(evidence.gradients[0] * evidence.activations[0])

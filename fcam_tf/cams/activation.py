"""CAM itself: the maps weighed by the rows of the linear head."""

from __future__ import annotations

from typing import Any

import keras

from fcam_tf.cams.base import EvidenceCAM, weighted_sum
from fcam_tf.cams.split import Evidence


class ClassActivationMap(EvidenceCAM):
    """CAM (Zhou et al., CVPR 2016), the ``CAM*`` of the F-CAM tables.

    ``M = sum_k w_k A_k``, with w the head's weights of the class. Negative evidence stays: there is
    no ReLU. The model must end in global average pooling and one dense layer.

    Example:
        >>> cam = fcam_tf.cams.get("cam", classifier)
        >>> maps = cam(images, labels)  # (B, h, w)
    """

    name = "cam"

    def __init__(self, model: keras.Model, layer: Any = None) -> None:
        super().__init__(model, layer)
        if self.split.kernel is None:
            raise ValueError(
                "`cam` needs a model that ends in global average pooling and one dense layer on "
                "the tapped map. Received another head or an earlier `layer`; 'gradcam' and "
                "'layercam' explain any."
            )

    def combine(self, evidence: Evidence) -> Any:
        # The gradient is w / (h w), which min-max cannot tell from w.
        return weighted_sum(evidence.gradients[0], evidence.activations[0])

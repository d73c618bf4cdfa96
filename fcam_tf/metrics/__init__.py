"""Benchmark metrics: boxes from heat maps, MaxBoxAcc (V1 to V3) and PxAP.

The metric classes need Keras, which is imported when one is first used.
"""

from typing import TYPE_CHECKING

from fcam_tf.lazy import lazily
from fcam_tf.masks import join_masks, resize_mask
from fcam_tf.metrics.boxes import InvalidBoxError, box_iou, boxes_from_map, resize_boxes
from fcam_tf.metrics.measures import MEASURES, iou_curve, threshold_grid
from fcam_tf.metrics.scoremap import check_scoremap, normalize_cam

if TYPE_CHECKING:
    from fcam_tf.metrics.localization import MaxBoxAcc, MaxBoxAccV2, MaxBoxAccV3
    from fcam_tf.metrics.pixels import PxAP

__all__ = [
    "MEASURES",
    "InvalidBoxError",
    "MaxBoxAcc",
    "MaxBoxAccV2",
    "MaxBoxAccV3",
    "PxAP",
    "box_iou",
    "boxes_from_map",
    "check_scoremap",
    "iou_curve",
    "join_masks",
    "normalize_cam",
    "resize_boxes",
    "resize_mask",
    "threshold_grid",
]

__getattr__ = lazily(
    __name__, {"localization": ["MaxBoxAcc", "MaxBoxAccV2", "MaxBoxAccV3"], "pixels": ["PxAP"]}
)

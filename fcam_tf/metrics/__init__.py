"""Metrics: the benchmark's MaxBoxAcc (V1 to V3) and PxAP, boxes from maps, explanation metrics.

The metric classes need Keras, which is imported when one is first used. The metrics of explanations
are functions (perturbation.py, road.py, sanity.py, pointing.py).
"""

import lazy_loader

from fcam_tf.masks import join_masks as join_masks
from fcam_tf.masks import resize_mask as resize_mask
from fcam_tf.metrics.boxes import InvalidBoxError as InvalidBoxError
from fcam_tf.metrics.boxes import box_iou as box_iou
from fcam_tf.metrics.boxes import boxes_from_map as boxes_from_map
from fcam_tf.metrics.boxes import resize_boxes as resize_boxes
from fcam_tf.metrics.measures import MEASURES as MEASURES
from fcam_tf.metrics.measures import threshold_grid as threshold_grid
from fcam_tf.metrics.scoremap import check_scoremap as check_scoremap
from fcam_tf.metrics.scoremap import normalize_cam as normalize_cam

__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "max_box_acc": ["MaxBoxAcc", "MaxBoxAccV2", "MaxBoxAccV3"],
        "perturbation": [
            "adcc",
            "area",
            "average_drop",
            "deletion_curve",
            "increase_in_confidence",
            "insertion_curve",
            "masked",
        ],
        "pixels": ["PxAP"],
        "pointing": ["pointing_game"],
        "road": ["noisy_linear_imputation", "road_curves", "road_score"],
        "sanity": ["maximal_sensitivity", "randomisation", "stages_from_head"],
    },
)

import subprocess
import sys

import pytest

from fcam_tf import metrics


def test_functions_come_without_keras():
    code = (
        "import sys; from fcam_tf import metrics; metrics.boxes_from_map; "
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists():
    names = (
        *("InvalidBoxError", "box_iou", "boxes_from_map", "resize_boxes", "check_scoremap"),
        *("join_masks", "normalize_cam", "resize_mask", "threshold_grid"),
        *metrics.MEASURES,
    )
    assert all(getattr(metrics, name) for name in names)
    with pytest.raises(AttributeError, match="attribute MaxBoxAccV9"):
        _ = metrics.MaxBoxAccV9

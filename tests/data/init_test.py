import subprocess
import sys

import pytest

from fcam_tf import data


def test_reading_and_checking_come_without_tensorflow():
    code = (
        "import sys; from fcam_tf import data; data.load_wsol; data.check_dataset; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists():
    names = (
        *("BrokenPhotoError", "DataError", "Problem", "Report", "Split", "broken_photos"),
        *("check_dataset", "draw_shapes", "evaluation_dataset", "folder_notes", "load"),
        *("load_folder", "load_wsol", "naming_photos", "training_dataset", "write_shapes"),
        *("without_broken", "write_tfds"),
    )
    assert all(getattr(data, name) for name in names)
    with pytest.raises(AttributeError, match="attribute load_everything"):
        _ = data.load_everything

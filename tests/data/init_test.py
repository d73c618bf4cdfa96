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
    assert all(getattr(data, name) for name in data.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = data.load_everything

import numpy as np
import pytest
from PIL.PngImagePlugin import PngImageFile

from fcam_tf.serving import uploads
from fcam_tf.serving.errors import BadRequestError
from tests.serving.conftest import photo


def test_a_photo_is_read_and_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = uploads.read_upload(photo(90, 60), (64, 48), 90 * 60)
    assert (found.width, found.height) == (90, 60)
    assert found.pixels.shape == (64, 48, 3)
    for content, most in ((photo(90, 60), 90 * 60 - 1), (b"text", 10)):
        with pytest.raises(BadRequestError, match="the photo cannot be used"):
            uploads.read_upload(content, (64, 48), most)
    assert not list(tmp_path.iterdir())


def test_nothing_found_has_no_box(served):
    sent = uploads.read_upload(photo(90, 60), (64, 64), 10**6)
    nothing = {
        "label": np.array([1]),
        "score": np.array([0.5]),
        "heatmap": np.zeros((1, 64, 64), "f4"),
        "boxes": np.array([[0, 0, -1, -1]]),
    }
    answer = uploads.result_json(served, sent, nothing, with_overlay=True)
    assert answer.pop("overlay")
    assert answer == {
        "label": 1,
        "label_name": "<b>dog</b>",
        "score": 0.5,
        "box": None,
        "width": 90,
        "height": 60,
    }


def test_a_large_photo_is_not_decoded(monkeypatch):
    def load(_):
        pytest.fail("it was decoded")

    monkeypatch.setattr(PngImageFile, "load", load)
    with pytest.raises(BadRequestError, match="30 x 20 pixels are more"):
        uploads.read_upload(photo(30, 20, "PNG"), (64, 48), 599)


def test_headers_are_looked_at_first():
    files = np.empty(2, object)
    files[:] = [photo(10, 10), photo(20, 20, "PNG")[:80]]  # its pixels are missing
    uploads.check_files(files, 500)
    with pytest.raises(BadRequestError, match=r"the 2 photos .* 0.0005 million pixels together"):
        uploads.check_files(files, 499)
    with pytest.raises(BadRequestError, match="20 x 20 pixels are more"):
        uploads.check_files(files, 300)

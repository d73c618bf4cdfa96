import numpy as np
import pytest

from fcam_tf.answers import Answers
from fcam_tf.predict.localizer import Localizer
from fcam_tf.serving.errors import BadRequestError
from fcam_tf.serving.served import of_answers, of_saved_model
from tests.models.tiny import photos, tiny_classifier


def test_a_saved_model(served, exported, fcam):
    assert served.class_names == ["cat", "<b>dog</b>", "bird"]
    assert served.sides == (64, 64)
    assert served.version == exported.name == "3"
    served.warm_up(2)
    found = served.signatures["serve_uint8"](images := photos(2, 48))
    np.testing.assert_array_equal(found["boxes"], fcam.localize(images).boxes)


def test_a_model_in_memory_has_the_same_signatures(served):
    localizer = Localizer(tiny_classifier(), "cam")
    found = of_answers(Answers(localizer))
    assert found.class_names is None
    assert set(found.signatures) == set(served.signatures)
    for name, signature in found.signatures.items():
        assert signature.key == served.signatures[name].key
        assert signature.spec.dtype == served.signatures[name].spec.dtype
    answer = found.signatures["serve_uint8"](images := photos(2, 48))
    expected = localizer(images)
    np.testing.assert_allclose(answer["heatmap"], expected.heatmaps, atol=1e-4)
    np.testing.assert_array_equal(answer["boxes"], expected.boxes)
    with pytest.raises(BadRequestError, match=r"^images : Tensor had NaN values$"):
        found.signatures["serving_default"](np.full((1, 4, 4, 3), np.nan, "f4"))
    with pytest.raises(BadRequestError, match=r"^assertion failed: \[the photo is neither"):
        found.signatures["serve_bytes"](np.array([b"GIF8"], object))


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_text("nothing")
    with pytest.raises(ValueError, match="is not a SavedModel of fcam export, or damaged"):
        of_saved_model(tmp_path)

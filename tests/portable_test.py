import sys
from pathlib import Path

import numpy as np
import pytest

from fcam_tf import portable
from fcam_tf.models import FCAM
from tests.models.tiny import photos, tiny_classifier

IMAGES = photos(3, 48).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    model.input_size = 48
    return model


def assert_same(found, model, images, **options):
    expected = model.localize(images, **options)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(found["logits"], model.maps_and_logits(images)[1], atol=1e-4)


def test_litert_answers_as_the_model_does(model, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = portable.export_file(model, tmp_path / "new" / "tiny.tflite")
    runner = litert.Interpreter(str(path)).get_signature_runner()
    for image in IMAGES:
        assert_same(runner(images=image[None]), model, image[None])
    assert [file.name for file in path.parent.iterdir()] == ["tiny.tflite"]


def test_onnx_answers_as_the_model_does_at_any_size(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    path = portable.export_file(model, tmp_path / "tiny.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for height, width in ((48, 48), (33, 40)):
        images = IMAGES[:, :height, :width]
        found = dict(zip(names, session.run(None, {"images": images}), strict=True))
        assert_same(found, model, images)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_mirrored_images_are_in_the_file(model, tmp_path, ending):
    if ending == "onnx":
        pytest.importorskip("tf2onnx")
    path = portable.export_file(model, tmp_path / f"tiny.{ending}", flip=True)
    image = IMAGES[:1]
    if ending == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        for images in (image, IMAGES[:, :33, :40]):
            found = dict(zip(names, session.run(None, {"images": images}), strict=True))
            assert_same(found, model, images, flip=True)
    else:
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        runner = litert.Interpreter(str(path)).get_signature_runner()
        assert_same(runner(images=image), model, image, flip=True)


def test_wrong_use(model, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end with .tflite or .onnx. Received: tiny.pb"):
        portable.export_file(model, "tiny.pb")
    with pytest.raises(TypeError, match=r"must be an F-CAM, .* Received: .*Functional"):
        portable.export_file(tiny_classifier(), "tiny.onnx")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fcam_tf\[portable\]'"):
        portable.export_file(model, tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_failure(model, tmp_path, monkeypatch):
    def fail(_, path, **__):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(portable.keras.Model, "export", fail)
    with pytest.raises(OSError, match="disk full"):
        portable.export_file(model, tmp_path / "tiny.tflite")
    assert not list(tmp_path.iterdir())

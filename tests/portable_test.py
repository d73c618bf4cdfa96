import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fcam_tf import portable
from fcam_tf.models import FCAM
from fcam_tf.predict.localizer import Localizer
from tests.models.tiny import photos, tiny_classifier

IMAGES = photos(3, 48).astype("float32")
NAMES = ["cat", "Zürich, city", '"quoted"']


@pytest.fixture(scope="module")
def model():
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    model.input_size = 48
    model.class_names = NAMES
    return model


def assert_same(found, model, images, **options):
    expected = model.localize(images, **options)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(found["logits"], model.maps_and_logits(images)[1], atol=1e-4)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)
    np.testing.assert_array_equal(found["mask"], expected.masks)


def test_litert_answers_as_the_model_does(model, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = portable.export_file(model, tmp_path / "new" / "tiny.tflite")
    runner = litert.Interpreter(str(path)).get_signature_runner()
    for image in IMAGES:
        assert_same(runner(images=image[None]), model, image[None])
    assert [file.name for file in path.parent.iterdir()] == ["tiny.tflite"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().splitlines() == NAMES


def test_onnx_answers_as_the_model_does_at_any_size(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    path = portable.export_file(model, tmp_path / "tiny.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["names"])
    assert labels == dict(zip("012", NAMES, strict=True))
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


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_classifier_answers_by_a_cam_in_closed_form(tmp_path, ending):
    model = tiny_classifier()  # without names
    path = portable.export_file(model, tmp_path / f"tiny.{ending}", method="cam", threshold=0.5)
    assert not zipfile.is_zipfile(path)
    expected = Localizer(model, "cam", 0.5)(image := np.resize(IMAGES[0], (1, 224, 224, 3)))
    if ending == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(None, {"images": image}), strict=True))
    else:
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        found = litert.Interpreter(str(path)).get_signature_runner()(images=image)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-4)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)


def test_gradients_are_refused_at_once(tmp_path):
    message = r"`method` layercam at relu1,relu2 needs what .* does not have: gradients. Export a"
    with pytest.raises(ValueError, match=message):
        portable.export_file(
            tiny_classifier(), tmp_path / "a.tflite", method="layercam", layer=["relu1", "relu2"]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "form"), [("tflite", "LiteRT"), ("onnx", "ONNX")])
def test_operations_that_a_format_lacks_are_named(tmp_path, ending, form):
    if ending == "onnx":
        pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match=rf"eigencam at relu2 .* {form} does not have: .*Eig"):
        portable.export_file(tiny_classifier(32), tmp_path / f"a.{ending}", method="eigencam")
    assert not list(tmp_path.iterdir())


def test_wrong_use(model, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end with .tflite or .onnx. Received: tiny.pb"):
        portable.export_file(model, "tiny.pb")
    with pytest.raises(ValueError, match="`threshold` must be"):
        portable.export_file(model, tmp_path / "tiny.tflite", threshold=3)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fcam_tf\[portable\]'"):
        portable.export_file(model, tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_what_killed_exports_left_is_removed(model, tmp_path):
    (tmp_path / ".other.onnx.part" / "tmp12345678").mkdir(parents=True)
    portable.export_file(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tflite"]


def test_nothing_is_left_of_a_failure(model, tmp_path, monkeypatch):
    def fail(_, path):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(portable, "_write_litert", fail)
    with pytest.raises(OSError, match="disk full"):
        portable.export_file(model, tmp_path / "tiny.tflite")
    assert not list(tmp_path.iterdir())

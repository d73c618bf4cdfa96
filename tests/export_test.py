import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcam_tf import cli
from fcam_tf.export import WARMUP, export
from fcam_tf.models import FCAM
from fcam_tf.predict.localizer import Localizer
from tests.models.tiny import photos, tiny_classifier

IMAGES = photos(3, 48)


@pytest.mark.parametrize("signature", ["serving_default", "serve_uint8"])
@pytest.mark.parametrize("shape", [(48, 48), (33, 50)])
def test_answers_are_those_of_localize(fcam, signatures, signature, shape):
    images = IMAGES[:, : shape[0], : shape[1]]
    rest = [shape[i] - images.shape[i + 1] for i in (0, 1)]
    images = np.pad(images, [(0, 0), (0, rest[0]), (0, rest[1]), (0, 0)])
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    found = signatures[signature](images=tf.constant(images.astype(dtype)))
    expected = fcam.localize(images)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)


@pytest.mark.slow
def test_mirrored_images_are_in_the_graph(fcam, tmp_path):
    archive = tf.saved_model.load(str(export(fcam, tmp_path / "1", flip=True)))
    image = IMAGES[:, :33]
    found = archive.signatures["serve_uint8"](images=tf.constant(image))
    expected, plain = fcam.localize(image, flip=True), fcam.localize(image)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    assert np.abs(expected.heatmaps - plain.heatmaps).max() > 1e-3
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(found["logits"], fcam.maps_and_logits(image)[1], atol=1e-4)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)
    files = tf.stack([tf.io.encode_png(np.resize(image[0], (64, 64, 3)))])
    found = archive.signatures["serve_bytes"](image_bytes=files)
    expected = fcam.localize(np.resize(image[0], (1, 64, 64, 3)), flip=True)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    assert found["mask_bytes"].shape == found["label"].shape == (1,)


def test_nan_fails(signatures):
    bad = IMAGES.astype("float32")
    bad[1, 2, 3] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        signatures["serving_default"](images=tf.constant(bad))


PIXELS = ["serving_default", "serve_uint8"]
WRONG = [(48, 48, 3), (1, 48, 3), (3,), (), (0,), (1, 1, 48, 48, 3), (1, 48, 48, 2), (1, 48, 48, 4)]


@pytest.mark.parametrize("signature", PIXELS)
@pytest.mark.parametrize("shape", WRONG)
def test_wrong_ranks_and_channels_fail_their_request_alone(signatures, signature, shape):
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        signatures[signature](images=tf.zeros(shape, dtype))
    assert signatures[signature](images=tf.zeros((1, 48, 48, 3), dtype))["label"].shape == (1,)


@pytest.mark.parametrize("signature", PIXELS)
@pytest.mark.parametrize("shape", [(0, 48, 48, 3), (1, 0, 48, 3), (1, 48, 0, 3)])
def test_empty_batches_fail(signatures, signature, shape):
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    with pytest.raises(tf.errors.InvalidArgumentError, match="no images or no pixels"):
        signatures[signature](images=tf.zeros(shape, dtype))


FOREIGN = """
import json, sys
import numpy as np, tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
model = tf.saved_model.load(sys.argv[1])
found = model.signatures["serving_default"](images=tf.constant(np.load(sys.argv[2])))
proto = saved_model_pb2.SavedModel()
proto.ParseFromString(open(sys.argv[1] + "/saved_model.pb", "rb").read())
graph = proto.meta_graphs[0].graph_def
used = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
print(json.dumps({
    "ours": [name for name in sys.modules if name.startswith("fcam")],
    "unknown": sorted(op for op in used if op not in dir(tf.raw_ops)
                      and op not in {f.signature.name for f in graph.library.function}),
    "python": [op for op in used if "PyFunc" in op],
    "boxes": found["boxes"].numpy().tolist(),
}))
"""


@pytest.mark.slow
def test_it_runs_where_nothing_of_ours_is(exported, fcam, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES.astype("float32"))
    run = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(exported), tmp_path / "images.npy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["ours"] == found["unknown"] == found["python"] == []
    np.testing.assert_array_equal(found["boxes"], fcam.localize(IMAGES).boxes)


def test_warmup_requests_are_prediction_logs(exported):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(exported / WARMUP))
    ]
    requests = [log.predict_log.request for log in logs]
    assert [r.model_spec.signature_name for r in requests] == ["serving_default", "serve_bytes"]
    assert {r.model_spec.name for r in requests} == {"tiny"}
    assert tf.make_ndarray(requests[0].inputs["images"]).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("threshold", ["otsu", 0.5])
def test_another_engine_gives_the_same(fcam, tmp_path, threshold):
    openvino = pytest.importorskip("openvino")
    path = export(fcam, tmp_path / "1", threshold=threshold)
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16, where the processor has it
    found = core.compile_model(core.read_model(path), "CPU", exact)(IMAGES.astype("float32"))
    expected = fcam.localize(IMAGES, threshold=threshold)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_models_of_every_floatx_answer_in_float32(floatx, tmp_path, dtype):
    floatx(dtype)
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=())
    path = export(model, tmp_path / "1")
    signatures = tf.saved_model.load(str(path)).signatures
    expected = model.localize(IMAGES)
    for name, kind in (("serving_default", "float32"), ("serve_uint8", "uint8")):
        found = signatures[name](images=tf.constant(IMAGES.astype(kind)))
        assert {found[key].dtype for key in ("heatmap", "score", "logits")} == {tf.float32}
        np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=5e-3)
        np.testing.assert_array_equal(found["label"], expected.labels)
    file = tf.stack([tf.io.encode_png(IMAGES[0])])
    assert signatures["serve_bytes"](image_bytes=file)["heatmap"].dtype == tf.float32


@pytest.fixture
def unwritten(monkeypatch):
    """Write an empty file for a SavedModel; return what was asked for."""
    asked = []

    def archive(answers):
        localizer = answers.localizer
        asked.append((localizer.threshold, localizer.told))
        return SimpleNamespace(write_out=lambda path, **_: Path(path, "saved_model.pb").touch())

    monkeypatch.setattr("fcam_tf.export._archive", archive)
    return asked


@pytest.mark.usefixtures("unwritten")
def test_nothing_half_is_left_behind(fcam, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcam_tf.export._write_warmup", full)
    with pytest.raises(OSError, match="No space"):
        export(fcam, tmp_path / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("name", ["latest", "v1", "1.5", "²"])
def test_a_folder_that_tf_serving_will_not_find_is_warned_of(fcam, tmp_path, name):
    with pytest.warns(UserWarning, match="must be a number") as told:
        export(fcam, tmp_path / name)
    assert [warning.filename for warning in told] == [__file__]
    assert (tmp_path / name / "saved_model.pb").exists()


def test_bad_arguments(fcam, exported):
    with pytest.raises(FileExistsError):
        export(fcam, exported)
    with pytest.raises(ValueError, match="threshold"):
        export(fcam, exported, threshold=2)
    with pytest.raises(ValueError, match="`method` 'fcam' needs an F-CAM"):
        export(tiny_classifier(), exported, method="fcam")
    with pytest.raises(ValueError, match="'scorecam' cannot be exported"):
        export(tiny_classifier(), exported, method="scorecam")


def test_names_of_classes_are_beside_it_and_in_the_answers(tmp_path):
    names = ["cat", "Zürich, city", "a\nb"]
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(), class_names=names)
    path = export(model, tmp_path / "1")
    text = (path / "assets.extra" / "labels.txt").read_text("utf-8")
    assert text == "cat\nZürich, city\na\\nb\n"
    signatures = tf.saved_model.load(str(path)).signatures
    found = signatures["serve_bytes"](image_bytes=tf.stack([tf.io.encode_png(IMAGES[0])]))
    assert found["label_name"].numpy()[0].decode() == names[int(found["label"][0])]
    assert "label_name" not in signatures["serving_default"].structured_outputs


@pytest.mark.parametrize(("method", "layer"), [("cam", None), ("layercam", ["relu1", "relu2"])])
def test_a_classifier_answers_as_it_is_localised(tmp_path, method, layer):
    model = tiny_classifier()
    path = export(model, tmp_path / "1", method=method, layer=layer)
    found = tf.saved_model.load(str(path)).signatures["serve_uint8"](images=tf.constant(IMAGES))
    expected = Localizer(model, method, None, layer)(IMAGES)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-4)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)


def test_a_model_of_grey_images_takes_rgb(tmp_path):
    x = images = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(8, 3, 4, activation="relu")(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, x)
    path = export(model, tmp_path / "1", method="cam")
    found = tf.saved_model.load(str(path)).signatures["serve_uint8"](images=tf.constant(IMAGES))
    expected = Localizer(model, "cam")(IMAGES)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-4)


def test_command(fcam, unwritten, tmp_path, capfd):
    fcam.save(tmp_path / "a.keras")

    def status(*arguments):
        return cli.run(["fcam", "export", *map(str, arguments)])

    assert status(tmp_path / "a.keras", tmp_path / "s" / "1", "--threshold=0.3") == 0
    assert (tmp_path / "s" / "1" / "saved_model.pb").exists()
    assert unwritten == [(0.3, "fcam")]
    assert status(tmp_path / "a.keras", tmp_path / "s" / "2", "--flip") == 0
    assert unwritten[1:] == [(0.6, "fcam, flip")]
    assert status(tmp_path / "a.keras", tmp_path / "s", "--layout=tfserving", "--method=cam") == 0
    assert unwritten[2:] == [("otsu", "cam at relu2")]
    assert (tmp_path / "s" / "3" / "saved_model.pb").exists()
    assert status(tmp_path / "a.keras", tmp_path / "s" / "1") == 2
    assert status(tmp_path / "a.keras") == 2
    capfd.readouterr()
    for name in ("x.pb", "x.keras", "x.onnx.zip"):
        assert status(tmp_path / "a.keras", tmp_path / name) == 2
        assert "an ending of no known format. Available: .tflite, .onnx;" in capfd.readouterr().err
        assert not (tmp_path / name).exists()
    assert status(tmp_path / "a.keras", "x.onnx", "--layout=triton") == 2
    assert "--layout triton needs a folder" in capfd.readouterr().err
    assert status("resnet51_layercam", tmp_path / "t") == 2
    assert "Did you mean 'resnet50_layercam'" in capfd.readouterr().err

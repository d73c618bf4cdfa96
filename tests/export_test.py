import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcam_tf import cli
from fcam_tf.export import WARMUP, _decode, export
from fcam_tf.models import FCAM
from fcam_tf.photos import read_photo
from tests.models.tiny import photos, tiny_classifier
from tests.pngs import png

IMAGES = photos(3, 48)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)  # thin parts of an object may vanish as its mask shrinks
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4), threshold=0.6)
    model.input_size = 64
    return model


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("serving") / "tiny" / "1")


@pytest.fixture(scope="module")
def signatures(served):
    return tf.saved_model.load(str(served)).signatures


def saved(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, quality=95, **options)
    return file.getvalue()


def encoded(image, form):
    return saved(Image.fromarray(image), form)


@pytest.mark.parametrize("signature", ["serving_default", "serve_uint8"])
@pytest.mark.parametrize("shape", [(48, 48), (33, 50)])
def test_answers_are_those_of_localize(model, signatures, signature, shape):
    images = IMAGES[:, : shape[0], : shape[1]]
    rest = [shape[i] - images.shape[i + 1] for i in (0, 1)]
    images = np.pad(images, [(0, 0), (0, rest[0]), (0, rest[1]), (0, 0)])
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    found = signatures[signature](images=tf.constant(images.astype(dtype)))
    expected = model.localize(images)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)


@pytest.mark.slow
def test_mirrored_images_are_in_the_graph(model, tmp_path):
    archive = tf.saved_model.load(str(export(model, tmp_path / "1", flip=True)))
    image = IMAGES[:, :33]
    found = archive.signatures["serve_uint8"](images=tf.constant(image))
    expected, plain = model.localize(image, flip=True), model.localize(image)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    assert np.abs(expected.heatmaps - plain.heatmaps).max() > 1e-3
    np.testing.assert_array_equal(found["label"], expected.labels)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(found["logits"], model.maps_and_logits(image)[1], atol=1e-4)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)
    files = tf.constant([encoded(np.resize(image[0], (64, 64, 3)), "PNG")])
    found = archive.signatures["serve_bytes"](image_bytes=files)
    expected = model.localize(np.resize(image[0], (1, 64, 64, 3)), flip=True)
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-5)
    assert found["mask_bytes"].shape == found["label"].shape == (1,)


def test_files_of_different_sizes(model, signatures):
    big = np.array(Image.fromarray(IMAGES[0]).resize((120, 90)))
    files = [encoded(big, "PNG"), encoded(IMAGES[1], "JPEG")]
    answer = signatures["serve_bytes"](image_bytes=tf.constant(files))
    found = {name: value.numpy() for name, value in answer.items()}
    square = tf.image.resize(big.astype("float32"), (64, 64), antialias=True)
    expected = model.localize(np.clip(np.round(square), 0, 255)[None])
    np.testing.assert_allclose(found["heatmap"][0], expected.heatmaps[0], atol=1e-5)
    for n, (width, height) in enumerate([(120, 90), (48, 48)]):
        mask = np.array(Image.open(io.BytesIO(found["mask_bytes"][n])))
        assert mask.shape == (height, width)
        x0, y0, x1, y1 = found["boxes"][n]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (mask[mask > 0] == 255).all()
        assert abs(columns[0] - x0) <= 2
        assert abs(columns[-1] - x1) <= 2
        assert abs(rows[0] - y0) <= 2
        assert abs(rows[-1] - y1) <= 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_model_of_other_sides(tmp_path, orientation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 48, 3))
    model = FCAM.from_classifier(
        keras.Model(inputs, tiny_classifier()(inputs)), decoder_filters=(4, 4, 4)
    )
    signatures = tf.saved_model.load(str(export(model, tmp_path / "1"))).signatures
    image = Image.fromarray(IMAGES[0])
    file = saved(
        image,
        "PNG",
        exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
        b"\x00\x00\x00\x01\x00" + bytes([orientation]) + b"\x00\x00\x00\x00\x00\x00",
    )
    found = signatures["serve_bytes"](image_bytes=tf.constant([file]))
    upright = np.rot90(IMAGES[0], -1) if orientation == 6 else IMAGES[0]
    resized = tf.image.resize(upright.astype("float32"), (32, 48), antialias=True)
    expected = model.localize(np.clip(np.round(resized), 0, 255)[None])
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-4)
    np.testing.assert_allclose(found["score"], expected.scores, atol=1e-4)


@pytest.mark.parametrize("files", [[b"garbage"], [b""], [encoded(IMAGES[0], "PNG")[:100]]])
def test_bad_files_fail_their_request_alone(signatures, files):
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serve_bytes"](image_bytes=tf.constant(files))
    good = signatures["serve_bytes"](image_bytes=tf.constant([encoded(IMAGES[0], "PNG")]))
    assert good["label"].shape == (1,)


def picture(mode="RGB", size=(90, 40)):
    image = Image.fromarray(photos(1, 6)[0]).resize(size).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def plain_png(channels, depth, transparent=False):
    """Return a PNG file of random samples, in blocks, which may name one of them transparent."""
    small = np.random.default_rng(0).integers(0, 2**depth, (8, 8, channels))
    samples = small.repeat(8, 0).repeat(8, 1)
    return png(samples, depth, small[2, 3] if transparent else None)


KINDS = {
    **{mode: saved(picture(mode)) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")},
    **{
        f"{channels} channels of {depth} bits{', one transparent' * transparent}": plain_png(
            channels, depth, transparent
        )
        for channels in (1, 2, 3, 4)
        for depth in ((1, 2, 4, 8, 16) if channels == 1 else (8, 16))
        for transparent in ((False, True) if channels in (1, 3) else (False,))
    },
    **{
        f"{depth} bits, named by more": png(np.arange(64).reshape(8, 8, 1) % 16, depth, 0x5107)
        for depth in (4, 8)
    },
    "RGB, one transparent": saved(picture(), transparency=picture().getpixel((0, 0))),
    "grey, one transparent": saved(picture("L"), transparency=picture("L").getpixel((0, 0))),
    **{
        f"palette, {bits} bits": saved(
            picture().quantize(2**bits),
            bits=bits,
            transparency=bytes([9, 200] * 2**bits)[: 2**bits],
        )
        for bits in (1, 2, 4, 8)
    },
    **{f"JPEG, {mode}": saved(picture(mode), "JPEG") for mode in ("RGB", "L", "CMYK")},
}


def turned(form, orientation, endian):
    exif = Image.Exif()
    exif.endian = endian
    exif.update({0x10F: "a maker", 0x110: "a model", 0x112: orientation, 0x131: "a program"})
    return saved(picture(), form, exif=exif.tobytes(), icc_profile=bytes(5000))


TURNS = {
    f"{form} {orientation} {endian}": turned(form, orientation, endian)
    for form in ("JPEG", "PNG")
    for orientation in range(10)  # 0 and 9 are none
    for endian in "<>"
}
DAMAGED = {
    name: saved(picture(), "JPEG", exif=b"Exif\0\0" + content)
    for name, content in {"cut": b"MM\0*\0\0\0\x08\0\1\1\x12", "noise": bytes(range(256))}.items()
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("files", [KINDS, TURNS, DAMAGED], ids=["kinds", "turns", "damaged"])
def test_files_are_read_as_localize_reads_them(files, tmp_path):
    decode = tf.function(lambda content: _decode(content, (64, 64)))
    for name, content in files.items():
        (tmp_path / "photo").write_bytes(content)
        expected = read_photo(tmp_path / "photo", (64, 64))
        pixels, size = decode(tf.constant(content))
        np.testing.assert_allclose(pixels, expected.pixels, atol=1, err_msg=name)
        assert size.numpy().tolist() == [expected.width, expected.height], name


def test_masks_and_boxes_are_of_the_upright_photo(model, signatures, tmp_path):
    file = turned("JPEG", 6, ">")
    (tmp_path / "photo").write_bytes(file)
    found = signatures["serve_bytes"](image_bytes=tf.constant([file]))
    assert Image.open(io.BytesIO(found["mask_bytes"][0].numpy())).size == (40, 90)
    expected = model.localize(read_photo(tmp_path / "photo", (64, 64)).pixels[None])
    np.testing.assert_allclose(found["heatmap"], expected.heatmaps, atol=1e-2)


def claiming(form, width, height):
    """Return a small file whose header says that it is another size."""
    file = bytearray(encoded(IMAGES[0], form))
    if form == "PNG":
        file[16:24] = struct.pack(">II", width, height)
        file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    else:
        start = file.index(b"\xff\xc0") + 5  # of the frame's height and width
        file[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(file)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(60000, 60000), (65000, 1100)])
def test_too_large_a_photo_is_refused_by_its_header(signatures, form, size):
    good = encoded(IMAGES[0], "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        signatures["serve_bytes"](image_bytes=tf.constant([good, claiming(form, *size)]))


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_other_kinds_of_files_are_refused(signatures, form):
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a JPEG nor a PNG"):
        signatures["serve_bytes"](image_bytes=tf.constant([encoded(IMAGES[0], form)]))


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


def test_a_batch_of_no_files_fails(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="no images or no pixels"):
        signatures["serve_bytes"](image_bytes=tf.constant([], tf.string))


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
def test_it_runs_where_nothing_of_ours_is(served, model, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES.astype("float32"))
    run = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(served), tmp_path / "images.npy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["ours"] == found["unknown"] == found["python"] == []
    np.testing.assert_array_equal(found["boxes"], model.localize(IMAGES).boxes)


def test_warmup_requests_are_prediction_logs(served):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(served / WARMUP))
    ]
    requests = [log.predict_log.request for log in logs]
    assert [r.model_spec.signature_name for r in requests] == ["serving_default", "serve_bytes"]
    assert {r.model_spec.name for r in requests} == {"tiny"}
    assert tf.make_ndarray(requests[0].inputs["images"]).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("threshold", ["otsu", 0.5])
def test_another_engine_gives_the_same(model, tmp_path, threshold):
    openvino = pytest.importorskip("openvino")
    path = export(model, tmp_path / "1", threshold=threshold)
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16, where the processor has it
    found = core.compile_model(core.read_model(path), "CPU", exact)(IMAGES.astype("float32"))
    expected = model.localize(IMAGES, threshold=threshold)
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
    file = tf.constant([encoded(IMAGES[0], "PNG")])
    assert signatures["serve_bytes"](image_bytes=file)["heatmap"].dtype == tf.float32


@pytest.fixture
def unwritten(monkeypatch):
    """Write an empty file for a SavedModel; return the thresholds asked for."""
    asked = []

    def archive(_, threshold, *, flip):
        asked.append((threshold, flip))
        return SimpleNamespace(write_out=lambda path, **_: Path(path, "saved_model.pb").touch())

    monkeypatch.setattr("fcam_tf.export._archive", archive)
    return asked


@pytest.mark.usefixtures("unwritten")
def test_nothing_half_is_left_behind(model, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcam_tf.export._write_warmup", full)
    with pytest.raises(OSError, match="No space"):
        export(model, tmp_path / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("name", ["latest", "v1", "1.5", "²"])
def test_a_folder_that_tf_serving_will_not_find_is_warned_of(model, tmp_path, name):
    with pytest.warns(UserWarning, match="must be a number") as told:
        export(model, tmp_path / name)
    assert [warning.filename for warning in told] == [__file__]
    assert (tmp_path / name / "saved_model.pb").exists()


def test_bad_arguments(model, served):
    with pytest.raises(FileExistsError):
        export(model, served)
    with pytest.raises(TypeError, match="must be an F-CAM"):
        export(tiny_classifier(), served)
    with pytest.raises(ValueError, match="threshold"):
        export(model, served, threshold=2)


def test_command(model, unwritten, tmp_path, capfd):
    model.save(tmp_path / "a.keras")

    def status(*arguments):
        return cli.run(["fcam", "export", *map(str, arguments)])

    assert status(tmp_path / "a.keras", tmp_path / "s" / "1", "--threshold=0.3") == 0
    assert (tmp_path / "s" / "1" / "saved_model.pb").exists()
    assert unwritten == [(0.3, False)]
    assert status(tmp_path / "a.keras", tmp_path / "s" / "2", "--flip") == 0
    assert unwritten[1:] == [(0.6, True)]
    assert status(tmp_path / "a.keras", tmp_path / "s" / "1") == 2
    assert status(tmp_path / "a.keras") == 2
    assert status(tmp_path / "a.keras", tmp_path / "a.tflite", "--threshold=0.3") == 2
    assert "--threshold is for boxes" in capfd.readouterr().err
    assert status(tmp_path / "a.keras", tmp_path / "a.tflite") == 0
    assert (tmp_path / "a.tflite").stat().st_size > 1000
    assert status("resnet51_layercam", tmp_path / "t") == 2
    assert "Did you mean 'resnet50_layercam'" in capfd.readouterr().err

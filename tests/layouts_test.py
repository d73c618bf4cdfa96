import re
from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf import layouts
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier

NAMES = ["cat", "dog", "bird"]


@pytest.fixture(scope="module")
def model():
    return FCAM.from_classifier(tiny_classifier(), decoder_filters=(), class_names=NAMES)


@pytest.fixture
def unwritten(monkeypatch):
    """Write no SavedModel and no file."""

    def saved(_, path, name):
        (path / "assets.extra").mkdir(parents=True)
        (path / "saved_model.pb").write_text(name)

    monkeypatch.setattr(layouts, "write_saved_model", saved)
    monkeypatch.setattr(layouts, "write_file", lambda _, path: path.write_text("onnx"))


def parsed(path):
    """Return the ModelConfig that a file holds, by Triton's own schema."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    return text_format.Parse(path.read_text(), schema.ModelConfig())


@pytest.mark.usefixtures("unwritten")
def test_tf_serving_gets_the_next_version(model, tmp_path):
    folder = tmp_path / "birds"
    (folder / "notes").mkdir(parents=True)
    assert layouts.export_layout(model, folder, "tfserving") == folder / "1"
    assert layouts.export_layout(model, folder, "tfserving") == folder / "2"
    (folder / "10").mkdir()
    assert layouts.export_layout(model, folder, "tfserving") == folder / "11"
    assert (folder / "11" / "saved_model.pb").read_text() == "birds"


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize(
    ("layout", "file"),
    [("triton", "model.savedmodel/saved_model.pb"), ("triton-onnx", "model.onnx")],
)
def test_a_repository_of_triton(model, tmp_path, layout, file):
    version = layouts.export_layout(model, tmp_path / "birds", layout)
    found = {p.relative_to(version.parent).as_posix() for p in version.parent.rglob("*")}
    assert {path for path in found if (version.parent / path).is_file()} == {
        *("config.pbtxt", "labels.txt", f"1/{file}")
    }
    assert (version.parent / "labels.txt").read_text() == "cat\ndog\nbird\n"
    assert version.name == "1"


@pytest.mark.usefixtures("unwritten")
def test_the_configuration_is_one_of_triton(model, tmp_path):
    layouts.export_layout(model, tmp_path / 'a "b"', "triton-onnx")
    config = parsed(tmp_path / 'a "b"' / "config.pbtxt")
    assert config.name == 'a "b"'
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size == layouts.MOST
    (images,) = config.input
    assert (images.name, images.data_type, list(images.dims)) == ("images", 11, [-1, -1, 3])
    outputs = {output.name: output for output in config.output}
    assert {name: list(output.dims) for name, output in outputs.items()} == {
        "heatmap": [-1, -1],
        "label": [1],
        "score": [1],
        "logits": [3],
        "boxes": [4],
        "mask": [-1, -1],
    }
    assert [name for name, output in outputs.items() if output.HasField("reshape")] == [
        *("label", "score")
    ]
    assert outputs["logits"].label_filename == "labels.txt"


def test_the_configuration_without_triton():
    model = FCAM.from_classifier(tiny_classifier(32), decoder_filters=())
    localizer = SimpleNamespace(class_names=None, num_classes=model.num_classes)
    answers = SimpleNamespace(shape=(32, 32), localizer=localizer)
    text = layouts.triton_config(answers, "birds", "tensorflow_savedmodel", with_mask=False)
    assert text.count("{") == text.count("}")
    assert text.count("[") == text.count("]")
    assert re.findall(r'(?m)^output { name: "(\w+)" data_type: (TYPE_\w+) dims', text) == [
        ("heatmap", "TYPE_FP32"),
        ("label", "TYPE_INT64"),
        ("score", "TYPE_FP32"),
        ("logits", "TYPE_FP32"),
        ("boxes", "TYPE_INT32"),
    ]
    assert "dims: [ 32, 32, 3 ]" in text
    assert "labels.txt" not in text


@pytest.mark.slow
def test_the_outputs_are_those_that_the_file_has(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    version = layouts.export_layout(model, tmp_path / "birds", "triton-onnx")
    config = parsed(tmp_path / "birds" / "config.pbtxt")
    session = onnxruntime.InferenceSession(
        str(version / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    kinds = {"tensor(float)": 11, "tensor(int64)": 9, "tensor(int32)": 8, "tensor(bool)": 1}
    names = [output.name for output in session.get_outputs()]
    found = dict(
        zip(names, session.run(None, {"images": np.zeros((2, 20, 30, 3), "f4")}), strict=True)
    )
    assert {o.name for o in config.output} == set(names)
    for output in session.get_outputs():
        (told,) = [o for o in config.output if o.name == output.name]
        assert told.data_type == kinds[output.type]
        rank = 0 if told.HasField("reshape") else len(told.dims)
        assert found[output.name].ndim == 1 + rank


def test_unknown_layouts(model, tmp_path):
    with pytest.raises(ValueError, match=r"`layout` is unknown: .tritn.\. Did you mean .triton."):
        layouts.export_layout(model, tmp_path / "birds", "tritn")

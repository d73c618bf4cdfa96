import json
import struct

import keras
import numpy as np
import pytest
from safetensors.numpy import load, load_file, save

from fcam_tf.zoo.weights import read_weights, write_weights


def small(units=5):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = layers.Input((None, None, 3))
    x = layers.Conv2D(64, 5, name="large")(images)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(units, name="head")(x))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(small(), path)
    return path


@pytest.mark.parametrize(("int8", "error"), [(False, 2**-11), (True, 1 / 254)])
def test_round_trip(tmp_path, int8, error):
    model, other = small(), small()
    write_weights(model, tmp_path / "w.safetensors", int8=int8)
    for variable in other.weights:
        variable.assign(np.zeros(variable.shape))
    read_weights(other, tmp_path / "w.safetensors")
    for a, b in zip(model.weights, other.weights, strict=True):
        largest = np.abs(np.asarray(a)).max(axis=tuple(range(len(a.shape) - 1)))
        assert (np.abs(np.subtract(a, b)) <= error * largest * 1.001 + 1e-7).all()
    stored = load_file(tmp_path / "w.safetensors")
    assert (stored["large/0"].dtype == np.int8) == int8
    assert stored["head/0"].dtype == np.float16


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["head/1", "large/0"])
def test_what_is_not_finite_is_not_written(tmp_path, name, value, int8):
    model = small()
    layer, i = name.split("/")
    variable = model.get_layer(layer).weights[int(i)]
    variable.assign(np.full(variable.shape, value))
    with pytest.raises(ValueError, match=f"{name} is not finite"):
        write_weights(model, tmp_path / "w.safetensors", int8=int8)


def test_what_float16_cannot_hold_is_float32(tmp_path):
    model, other = small(), small()
    model.get_layer("head").bias.assign([1.1e6] * 5)
    write_weights(model, tmp_path / "w.safetensors")
    read_weights(other, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(other.get_layer("head").bias, np.full(5, 1.1e6, "float32"))


def refused(path, match, model=None):
    model = model or small()
    before = [np.asarray(w).copy() for w in model.weights]
    with pytest.raises(ValueError, match=match):
        read_weights(model, path)
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_models(file):
    refused(file, r"head/0 must be \(64, 7\)", small(7))


def change(file, **arrays):
    """Let a file hold other arrays too, by names with _ for /; those that are None go."""
    stored = dict(load(file.read_bytes()))
    stored |= {name.replace("_", "/", 1): array for name, array in arrays.items()}
    file.write_bytes(save({name: array for name, array in stored.items() if array is not None}))


def test_missing_and_extra(file):
    change(file, head_other=np.zeros(3))
    refused(file, "weights of another model: 'head/other' among them")
    change(file, head_other=None, bn_1=None)
    refused(file, "lacks bn/1")


def test_a_scale_of_what_has_none(file):
    change(file, head_0_scale=np.ones(5, "float32"))
    refused(file, "another model: 'head/0_scale'")


def test_an_int8_without_its_scale_or_with_a_wrong_one(file):
    change(file, large_0=np.ones((5, 5, 3, 64), "int8"))
    refused(file, "lacks large/0_scale")
    change(file, large_0_scale=np.ones(1, "float32"))
    refused(file, r"large/0_scale must be \(64,\) of float32")
    change(file, large_0_scale=np.ones(64, "float16"))
    refused(file, r"large/0_scale must be \(64,\) of float32 in .* Found: \(64,\) of float16")
    change(file, large_0_scale=np.full(64, np.inf, "float32"))
    refused(file, "large/0 is not finite")


@pytest.mark.parametrize("kind", ["float64", "int32", "bool"])
def test_other_kinds(file, kind):
    change(file, bn_1=np.zeros(64, kind))
    refused(file, rf"bn/1 must be \(64,\) of float16 or float32 or int8 .* of {kind}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(file, value):
    change(file, bn_1=np.full(64, value, "float16"))
    refused(file, "bn/1 is not finite in .*: the file is damaged")


def test_truncated_and_longer(file):
    content = file.read_bytes()
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        refused(file, f"{file} holds no weights that can be read")
    file.write_bytes(content + b"\0")
    refused(file, f"{file} holds no weights that can be read")


def test_what_no_header_is_this_long_for(file):
    content = file.read_bytes()
    for begin in (struct.pack("<Q", 2**20 + 1), b"<html>Sign in</html>"):
        file.write_bytes(begin + content)
        refused(file, f"{file} is not of safetensors: its header would have")


def test_a_file_larger_than_the_model_is_not_read(file):
    scales = 6 * 64 + 2 * 5  # one for each variable, at most
    largest = 8 + 2**20 + 4 * (small().count_params() + scales)
    for size, message in ((largest, "holds no weights"), (largest + 1, f"more than {largest} byt")):
        with file.open("r+b") as opened:
            opened.truncate(size)  # the rest is no block of a disk
        refused(file, message)


def of(kind, shape, begin, end):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


F16 = of("F16", [2], 0, 4)
TWICE = json.dumps({"a": F16, "b": of("F16", [2], 4, 8)}).replace('"b"', '"a"')
HEADERS = {
    "overlap": {"a": F16, "b": of("F16", [2], 2, 6)},
    "the same place": {"a": F16, "b": F16},
    "a gap": {"a": F16, "b": of("F16", [1], 6, 8)},
    "beyond the end": {"a": of("F16", [6], 0, 12)},
    "less than all": {"a": F16},
    "from behind": {"a": of("F16", [2], 4, 0), "b": of("F16", [4], 0, 8)},
    "negative": {"a": of("F16", [4], -8, 0)},
    "other bytes than the shape's": {"a": of("F16", [3], 0, 8)},
    "a shape beyond 64 bits": {"a": of("F16", [2**62, 2**62], 0, 8)},
    "a shape of nothing and of too much": {
        "a": of("F16", [0, 2**62], 0, 0),
        "b": of("F16", [4], 0, 8),
    },
    "too many sides": {"a": of("F16", [1] * 100 + [4], 0, 8)},
    "an unknown kind": {"a": of("F17", [4], 0, 8)},
    "a name twice": TWICE,
    "no JSON": "{",
    "a list": [],
    "brackets": "[" * 100_000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_hostile_headers(tmp_path, header):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    refused(path, f"{path} holds no weights that can be read: .")


def test_a_kind_that_numpy_lacks(tmp_path):
    text = json.dumps({"a": of("BF16", [4], 0, 8)}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    refused(path, f"{path} holds numbers of a kind that NumPy lacks: 'BF16'")


def test_other_orders_of_memory_are_written_as_they_read(tmp_path, monkeypatch):
    """As other backends may give arrays; safetensors would take their bytes as they lie."""
    model, other = small(), small()
    plain = keras.ops.convert_to_numpy
    monkeypatch.setattr("keras.ops.convert_to_numpy", lambda v: np.asfortranarray(plain(v)))
    write_weights(model, tmp_path / "w.safetensors")
    monkeypatch.undo()
    read_weights(other, tmp_path / "w.safetensors")
    kernels = [np.asarray(m.get_layer("large").kernel, "float16") for m in (model, other)]
    np.testing.assert_array_equal(*kernels)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights(small(), tmp_path / "w.safetensors")

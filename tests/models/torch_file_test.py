import collections
import io
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcam_tf.models.torch_file import load_tensors

MAGIC = 0x1950A86A20F9469CFC6C


class Global:
    """Pickled as the bare name of a function or class that need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickled as the call of a global."""

    def __init__(self, module, name, *args):
        self.function, self.args = Global(module, name), args


class Storage:
    def __init__(self, array, key, *, count=None, kind="storage", type_name=None):
        self.array = array
        name = type_name or {"f": "FloatStorage", "i": "LongStorage"}[array.dtype.kind]
        count = array.size if count is None else count
        self.pid = (kind, Global("torch", name), key, "cpu", count, None)


class Pickler(pickle._Pickler):  # the one in C cannot write names that do not exist
    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 - what the base class calls it

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Storage) else None

    def save_global_name(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())

    def save_call(self, obj):
        self.save(obj.function)
        self.save(obj.args)
        self.write(pickle.REDUCE)

    dispatch[Global] = save_global_name
    dispatch[Call] = save_call


def tensor(storage, offset, shape, strides):
    arguments = (storage, offset, shape, strides, False, collections.OrderedDict())
    return Call("torch._utils", "_rebuild_tensor_v2", *arguments)


def dump(state, storages=(), *, magic=MAGIC):
    file = io.BytesIO()
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    for part in (magic, 1001, info, state, [s.pid[2] for s in storages]):
        Pickler(file, protocol=2).dump(part)
    for storage in storages:
        file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return file.getvalue()


FLOATS = Storage(np.arange(12, dtype="<f4"), "0")
LONGS = Storage(np.array([7], "<i8"), "1")
GOOD = collections.OrderedDict(
    weight=tensor(FLOATS, 0, (2, 3), (3, 1)),
    transposed=tensor(FLOATS, 6, (3, 2), (1, 3)),
    steps=tensor(LONGS, 0, (), ()),
)


@pytest.fixture
def load(tmp_path):
    def load(data):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return load_tensors(path)

    return load


def test_reads_tensors(load):
    tensors = load(dump(GOOD, [FLOATS, LONGS]))
    assert list(tensors) == ["weight", "transposed", "steps"]
    np.testing.assert_array_equal(tensors["weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["transposed"], [[6, 9], [7, 10], [8, 11]])
    assert tensors["steps"] == 7
    assert [t.dtype for t in tensors.values()] == ["float32", "float32", "int64"]


def test_reads_empty_tensors(load):
    empty = Storage(np.zeros(0, "<f4"), "0")
    assert load(dump({"x": tensor(empty, 0, (0, 5), (5, 1))}, [empty]))["x"].shape == (0, 5)


class Pwned(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    ("module", "name", "argument"),
    [
        ("os", "system", "echo ran > {path}"),
        ("posix", "system", "echo ran > {path}"),
        ("builtins", "eval", "open({path!r}, 'w').write('ran')"),
        ("__builtin__", "eval", "open({path!r}, 'w').write('ran')"),
        ("torch", "load", "{path}"),
        ("collections", "Counter", "{path}"),
    ],
)
@pytest.mark.parametrize("part", ["magic", "state"])
def test_other_globals_are_refused_and_not_run(load, tmp_path, module, name, argument, part):
    path = tmp_path / "ran"
    call = Call(module, name, argument.format(path=str(path)))
    data = dump(GOOD, [FLOATS, LONGS], magic=call) if part == "magic" else dump({"x": call})
    with pytest.raises(ValueError, match=f"asks for {module}.{name}"):
        load(data)
    assert not path.exists()


BAD = {
    "offset outside": tensor(FLOATS, 7, (2, 3), (3, 1)),
    "stride outside": tensor(FLOATS, 0, (2, 3), (10, 1)),
    "shape outside": tensor(FLOATS, 0, (5, 3), (3, 1)),
    "negative offset": tensor(FLOATS, -1, (2,), (1,)),
    "negative size": tensor(FLOATS, 0, (-2, 3), (3, 1)),
    "negative stride": tensor(FLOATS, 3, (2,), (-1,)),
    "any amount of memory": tensor(FLOATS, 0, (10**5, 10**5), (0, 0)),
    "more sizes than strides": tensor(FLOATS, 0, (2, 3), (1,)),
    "size no number": tensor(FLOATS, 0, ("2",), (1,)),
    "offset no integer": tensor(FLOATS, 0.5, (2,), (1,)),
    "no tensor": 3,
    "unknown dtype": tensor(Storage(FLOATS.array, "0", type_name="HalfStorage"), 0, (2,), (1,)),
    "unknown kind": tensor(Storage(FLOATS.array, "0", kind="module"), 0, (2,), (1,)),
    "storage too long": tensor(Storage(FLOATS.array, "0", count=13), 0, (2,), (1,)),
    "storage negative": tensor(Storage(FLOATS.array, "0", count=-1), 0, (2,), (1,)),
    "storage absent": tensor(Storage(FLOATS.array, "9"), 0, (2,), (1,)),
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_bad_tensors(load, value):
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load(dump({"x": value}, [FLOATS]))


@pytest.mark.parametrize("state", [[1, 2], "state", 3, None])
def test_state_is_no_dictionary(load, state):
    with pytest.raises(ValueError, match="not a readable"):
        load(dump(state))


def test_attributes_of_a_storage_cannot_be_set(load):
    """A pickle may set attributes, and could claim values that the storage does not hold."""
    data = dump({"x": tensor(FLOATS, 0, (2, 3), (3, 1))}, [FLOATS])
    where = data.index(b"Q", data.index(b"FloatStorage")) + 1  # after the storage was loaded
    forged = pickle.dumps({"count": 10**9, "values": [0.0]}, 2)[2:-1] + pickle.BUILD
    with pytest.raises(ValueError, match="not a readable"):
        load(data[:where] + forged + data[where:])


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"\x80\x02", b"PK\x03\x04" + bytes(99), bytes(9)]
)
def test_garbage(load, data):
    with pytest.raises(ValueError, match="not a readable legacy PyTorch"):
        load(data)


def test_memo_index_takes_no_memory(load):
    huge = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.LONG_BINPUT + b"\xff\xff\xff\xff."
    with pytest.raises(ValueError, match="magic number"):
        load(huge)


def test_deep_nesting(load):
    with pytest.raises(ValueError, match="magic number"):
        load(pickle.PROTO + b"\x02" + pickle.EMPTY_TUPLE + pickle.TUPLE1 * 10**4 + pickle.STOP)


def test_truncated_anywhere(load):
    data = dump(GOOD, [FLOATS, LONGS])
    for length in range(0, len(data), 3):
        with pytest.raises(ValueError, match="not a readable"):
            load(data[:length])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "nothing.pth")


WHOLE = dump(GOOD, [FLOATS, LONGS])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=4))
def test_flipped_bytes_give_a_dictionary_or_value_error(tmp_path_factory, flips):
    data = bytearray(WHOLE)
    for position, bits in flips:
        data[position] ^= bits
    path = tmp_path_factory.getbasetemp() / "flipped.pth"
    path.write_bytes(data)
    try:
        tensors = load_tensors(path)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in tensors)
    assert all(isinstance(value, np.ndarray) and value.size <= 12 for value in tensors.values())

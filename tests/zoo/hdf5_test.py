"""The files of before, for as long as they are read."""

import zlib

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from fcam_tf.zoo import hdf5
from fcam_tf.zoo.weights import read_weights, write_weights
from tests.zoo.weights_test import refused, small

PACKED = {"compression": "gzip", "shuffle": True}


def write_old(model, path, **options):
    """Write weights as they were written."""
    new = path.with_suffix(".safetensors")
    write_weights(model, new, **options)
    with h5py.File(path, "w") as stored:
        for name, values in load_file(new).items():
            stored.create_dataset(name, data=values, **PACKED)


def chunks_of(dataset):
    found = []
    dataset.id.chunk_iter(found.append)
    return found


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.h5"
    write_old(small(), path)
    return path


@pytest.mark.parametrize("int8", [False, True])
def test_both_forms_give_the_same(tmp_path, int8):
    models = [small(), small()]
    write_old(models[0], tmp_path / "w.h5", int8=int8)
    for model, name in zip(models, ("w.h5", "w.safetensors"), strict=True):
        for variable in model.weights:
            variable.assign(np.zeros(variable.shape))
        read_weights(model, tmp_path / name)
    assert np.asarray(models[0].get_layer("large").kernel).any()
    for old, new in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_other_models(file):
    refused(file, r"head/0 must be \(64, 7\)", small(7))


def test_missing_and_extra(file):
    with h5py.File(file, "a") as stored:
        stored["head/other"] = np.zeros(3)
    refused(file, "weights of another model.*head/other")
    with h5py.File(file, "a") as stored:
        del stored["head/other"], stored["bn/1"]
    refused(file, "lacks bn/1")


@pytest.mark.parametrize("content", [b"", b"no", b"\x89HDF\r\n\x1a\n" + b"\0" * 3000])
def test_no_hdf5(tmp_path, content):
    (tmp_path / "w.h5").write_bytes(content)
    refused(tmp_path / "w.h5", "holds no weights")


def test_truncated(file):
    content = file.read_bytes()
    for length in (len(content) // 2, len(content) - 100):
        file.write_bytes(content[:length])
        refused(file, "holds no weights|lacks|damaged|unable")


def test_a_pickled_group(file):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored["bn/1"] = np.void(b"cos\nsystem\n(S'true'\ntR.")
    refused(file, "bn/1 must be")


def test_a_bomb(file):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored.create_dataset("bn/1", (10**6, 10**6), "float16", compression="gzip", chunks=True)
    refused(file, r"bn/1 must be \(64,\)")


def test_a_bomb_of_one_chunk(file):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored.create_dataset("bn/1", (64,), "float16", chunks=(2**29,), maxshape=(None,), **PACKED)
    refused(file, r"bn/1 is in chunks of \(536870912,\)")


def test_a_bomb_in_a_chunk_of_the_right_size(file):
    """HDF5 itself takes as much memory as what was packed unpacks to, whatever the chunk's size."""
    with h5py.File(file, "a") as stored:
        shape = stored["large/0"].shape
        del stored["large/0"]
        bomb = stored.create_dataset("large/0", shape, "float16", chunks=shape, **PACKED)
        bomb.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(15 * 2**20)))
    assert file.stat().st_size < 200_000
    refused(file, f"large/0 unpacks to more than 9600 bytes a chunk in {file}")


@pytest.mark.parametrize("skipped", [0, 0b10])
def test_a_chunk_that_is_not_packed(file, skipped):
    """HDF5 writes one so where packing saves nothing, and says that it did."""
    with h5py.File(file, "a") as stored:
        values = stored["large/0"][()]
        shuffled = values.view("uint8").reshape(-1, 2).T.tobytes()
        stored["large/0"].id.write_direct_chunk((0,) * 4, shuffled, skipped)
        assert stored["large/0"].chunks == values.shape
    if skipped:
        model = small()
        read_weights(model, file)
        np.testing.assert_array_equal(model.get_layer("large").kernel, values)
    else:
        refused(file, "holds no weights that can be read")


def test_a_chunk_of_less_than_its_size(file):
    """HDF5 itself reads the rest from beyond its memory."""
    with h5py.File(file, "a") as stored:
        stored["bn/1"].id.write_direct_chunk((0,), zlib.compress(bytes(126)))
    refused(file, f"bn/1 unpacks to less than 128 bytes a chunk in {file}")


def test_a_chunk_of_more_bytes_than_the_file(file):
    """Memory for all of them would be taken before any is read."""
    with h5py.File(file, "a") as stored:
        (chunk,) = chunks_of(stored["bn/1"])
    content = file.read_bytes()
    record = (
        chunk.size.to_bytes(4, "little")
        + bytes(4 + 8 + 8)
        + chunk.byte_offset.to_bytes(8, "little")
    )
    assert content.count(record) == 1
    file.write_bytes(content.replace(record, b"\xf8\xff\xff\xff" + record[4:]))
    refused(file, "bn/1 has a chunk of 4294967288 bytes")


@pytest.mark.parametrize(
    "packing",
    [
        {"compression": "lzf"},
        {"fletcher32": True},
        {"compression": "gzip"},
        {"chunks": (64,)},
        {},
    ],
)
def test_other_packings_are_refused(file, packing):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored.create_dataset("bn/1", data=np.zeros(64, "float16"), **packing)
    refused(file, "bn/1 is not packed in .* by shuffle and gzip")


def test_a_header_that_lost_its_filters(file):
    """A byte that fuzzing changed: HDF5 then wrote the packed chunk beyond the memory for its size.

    The packed chunk is longer than its size where gzip has nothing to save, as here.
    """
    with h5py.File(file, "w") as stored:
        noise = np.random.default_rng(0).integers(-128, 128, 64, "int8")
        stored.create_dataset("bn/1", data=noise, **PACKED)
        (chunk,) = chunks_of(stored["bn/1"])
        assert chunk.size > noise.nbytes
    header = file.read_bytes()
    at = header.index(b"\x0b\x00\x38\x00\x01")  # the message of filters
    file.write_bytes(header[:at] + b"\x00" + header[at + 1 :])
    refused(file, "bn/1 is not packed in .* by shuffle and gzip")


def test_a_maze_of_groups(file):
    with h5py.File(file, "a") as stored:
        group = stored.create_group("head/maze")
        for _ in range(100):  # 2^100 paths
            group["b"] = inner = group.create_group("a")
            group = inner
        group["end"] = np.zeros(1)
    refused(file, "another model: 'head/maze'")


def test_a_name_that_is_no_text(file):
    with h5py.File(file, "a") as stored:
        stored[b"head/\x80"] = np.zeros(3)
    refused(file, f"{file} holds no weights that can be read: .*decode")


def test_a_kind_that_numpy_lacks(file):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        space = h5py.h5s.create_simple((64,))
        h5py.h5d.create(stored["bn"].id, b"1", h5py.h5t.UNIX_D32LE, space)
    refused(file, "holds no weights that can be read")


def test_a_scale_of_what_has_none(file):
    with h5py.File(file, "a") as stored:
        stored.create_dataset("head/0_scale", data=np.ones(5, "float32"), **PACKED)
    refused(file, "another model: 'head/0_scale'")


@pytest.mark.parametrize("link", [h5py.SoftLink("/head/0"), h5py.ExternalLink("/etc/passwd", "/")])
def test_links(file, link):
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored["bn/1"] = link
    refused(file, "link")


def test_virtual_and_external_storage(file, tmp_path):
    (tmp_path / "raw").write_bytes(b"\0" * 128)
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored.create_dataset("bn/1", (64,), "float16", external=[(str(tmp_path / "raw"), 0, 128)])
    refused(file, "no numbers of its own")
    layout = h5py.VirtualLayout((64,), "float16")
    layout[:] = h5py.VirtualSource(str(file), "bn/0", (64,))
    with h5py.File(file, "a") as stored:
        del stored["bn/1"]
        stored.create_virtual_dataset("bn/1", layout)
    refused(file, "no numbers of its own")


def test_large_files_have_trees_of_nodes(tmp_path):
    shapes = {f"layer{i}/0": (4,) for i in range(300)} | {"chunks/0": (130, 4)}
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as stored:
        for name, shape in shapes.items():
            chunks = (1, 4) if name == "chunks/0" else None
            stored.create_dataset(name, data=np.ones(shape, "float32"), chunks=chunks, **PACKED)
    content = path.read_bytes()
    assert b"TREE\0\1" in content  # of groups
    assert b"TREE\1\1" in content  # of chunks
    assert {name: values.shape for name, values in hdf5.read(path, shapes).items()} == shapes


@pytest.mark.parametrize("kind", [b"\0", b"\1"])
def test_a_tree_that_contains_itself(file, kind):
    """HDF5 itself follows it until the stack is used up, which ends the process."""
    content = bytearray(file.read_bytes())
    node = content.index(b"TREE" + kind)
    content[node + 5] = 1
    child = 32 if kind == b"\0" else 24 + 8 + 8 * 2  # of one dimension
    content[node + child : node + child + 8] = node.to_bytes(8, "little")
    file.write_bytes(content)
    refused(file, f"{file} holds no weights that can be read: a tree may contain itself")


def test_a_list_of_what_is_free_that_contains_itself(file):
    """HDF5 itself takes memory for each step, without end."""
    content = bytearray(file.read_bytes())
    heap = content.index(b"HEAP")
    free, names = np.frombuffer(content, "<u8", 2, heap + 16)
    content[names + free : names + free + 8] = free.tobytes()
    file.write_bytes(content)
    refused(file, f"{file} holds no weights that can be read: more than one part of a heap is free")


def test_another_version_of_the_format(file):
    with h5py.File(file, "w", libver="latest") as stored:
        stored["bn/1"] = np.zeros(64, "float16")
    refused(file, "holds no weights that can be read: it does not begin as files of weights do")

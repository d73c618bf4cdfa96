"""Maps stored by Beam without a model: python -m tests.scale.fake_cams OUT PHOTOS OPTION...

Each worker prints its process to the file WORKERS, if that is set.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from fcam_tf.data import Split
from fcam_tf.scale import blocks, pipeline, store, storing
from fcam_tf.training.cam_store import Teacher, claimed


def brightness(images, labels):  # noqa: ARG001
    """Return the mean brightness of each cell of 8 pixels."""
    time.sleep(float(os.environ.get("SECONDS_A_BATCH", "0")))
    grey = np.asarray(images).mean(-1) / 255
    count, height, width = grey.shape
    return grey.reshape(count, height // 8, 8, width // 8, 8).mean((2, 4)).astype("float32")


def teacher(method="brightness"):
    return Teacher(brightness, {"method": method}, size=32)


def load(method="brightness"):
    """Return the teacher, and note which process is a worker."""
    if "WORKERS" in os.environ:
        with Path(os.environ["WORKERS"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    return teacher(method)


def split_of(data):
    paths = tuple(sorted(Path(data).glob("*.png")))
    ids = tuple(path.name for path in paths)
    return Split("train", ids, paths, np.arange(len(ids)) % 2, ("a", "b"))


def run(out, data, options=(), load=load):
    """Store the maps of a folder of photos; return the blocks that were to do."""
    split, out = split_of(data), Path(out)
    with claimed(teacher(), split, out) as settings:
        todo = blocks.plan_blocks(split, out, blocks.BATCH)
        if todo:
            blocks.make_file(teacher(), len(split), out)
            folder = store.Store(str(out))
            folder.write(store.PLAN, b"".join(block.line() for block in todo))
            handler = storing.StoreHandler(load, split.subset([]), out, settings)
            parsed = pipeline.parse_options(options)
            pipeline.run(storing.build(parsed, folder, store.places_of(todo), handler))
            folder.remove(store.PLAN)
    return todo


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3:])

"""Packs a data set into few small files, for training on a machine without TensorFlow.

    python tools/gpu_packs.py --data tiny100 --out .gpu --frame 112 --shares 0.3,0.7
    python tools/gpu_packs.py --data pets3 --out .gpu --frame 224
    python tools/gpu_packs.py --data in1k --out .gpu --frame 224 --square 256 --splits train
    python tools/gpu_packs.py --graphs resnet50,efficientnetlite_b0 --out .gpu

A pack holds the encoded images of each split, their labels, and boxes and masks in the frame in
which maps are scored. --graphs writes what keras-cv, which insists on TensorFlow, builds of
backbones. tools/gpu_training.py reads both.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from packs import Pack, join, write_pack
from PIL import Image

_DATA = flags.DEFINE_string("data", None, "folder of the data set")
_OUT = flags.DEFINE_string("out", None, "folder of the packs", required=True)
_FRAME = flags.DEFINE_integer("frame", 224, "side of the frame that boxes and masks come in")
_SQUARE = flags.DEFINE_integer("square", 0, "side to resize images to; 0 keeps their files")
_SPLITS = flags.DEFINE_list("splits", ["train", "val", "test"], "splits to pack")
_SHARES = flags.DEFINE_list("shares", ["1"], "of the train split, one pack for each")
_FIRST = flags.DEFINE_integer("first", 0, "pack that many of the train split; 0 for all")
_GRAPHS = flags.DEFINE_list("graphs", [], "backbones whose graphs are written")


def _encoded(path: Path) -> bytes:
    if not _SQUARE.value:
        return path.read_bytes()
    side = _SQUARE.value
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "webp", quality=85)
    return file.getvalue()


def _packed(split: Any) -> Pack:
    from fcam_tf.evaluation.scores import read_truth  # noqa: PLC0415 - imports TensorFlow

    parts = {"image": join([_encoded(path) for path in split.paths])}
    pack = {"labels": split.labels}
    if split.boxes is not None or split.masks is not None:
        truths = [read_truth(split, i, _FRAME.value) for i in range(len(split))]
        if split.boxes is not None:
            parts["box"] = join([truth["boxes"] for truth in truths])
        if split.masks is not None:
            pack["masks"] = np.stack([truth["mask"] for truth in truths])
    pack |= {f"{key}_{name}": x for key, part in parts.items() for name, x in part.items()}
    return {f"{split.name}_{name}": array for name, array in pack.items()}


def _write_graphs(folder: Path) -> None:
    """Write the stock graph of each backbone, by what it is built from."""
    import keras  # noqa: PLC0415
    import keras_cv  # noqa: PLC0415

    from fcam_tf.models import backbones  # noqa: PLC0415

    for name in _GRAPHS.value:
        spec = backbones.get(name)

        def note(kind: type, name: str = name) -> Any:
            def build(**arguments: Any) -> keras.Model:
                stock = kind(**arguments)
                text = keras.Model(stock.inputs, stock.output).to_json()
                (folder / f"{name}.{kind.__name__}.json").write_text(text)
                return stock

            return build

        kinds = {k: v for k, v in vars(keras_cv.models).items() if k.endswith("Backbone")}
        for kind in kinds.values():
            setattr(keras_cv.models, kind.__name__, note(kind))
        spec.build(keras.Input((None, None, 3)), spec.output_stride)
        for key, kind in kinds.items():
            setattr(keras_cv.models, key, kind)


def main(argv: list[str]) -> None:
    """Write the packs."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    from fcam_tf import data  # noqa: PLC0415 - after the flags were read

    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    _write_graphs(out)
    if _DATA.value is None:
        return
    name = Path(_DATA.value).name
    splits = {split: data.load(_DATA.value, split) for split in _SPLITS.value}
    train = splits.pop("train")
    order = np.random.default_rng(0).permutation(len(train))[: _FIRST.value or None]
    shares = np.cumsum([float(share) for share in _SHARES.value]) / sum(map(float, _SHARES.value))
    for i, part in enumerate(np.split(order, np.int64(shares[:-1] * len(order)))):
        pack = _packed(train.subset(part))
        if i == len(shares) - 1:
            pack["class_names"] = np.array(train.class_names)
            for split in splits.values():
                pack |= _packed(split)
        path = out / f"{name}-{i}.xz"
        write_pack(path, pack)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    app.run(main)

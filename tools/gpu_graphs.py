"""Writes the graphs that keras-cv builds, for machines where it fails to import without TensorFlow.

PYTHONPATH=. python tools/gpu_graphs.py resnet50 efficientnetlite_b0 --out graphs
"""

from __future__ import annotations

import argparse
import json
import sys
import types
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import keras

from fcam_tf.models import backbones


def write(backbone: str, stride: int, folder: Path) -> None:
    """Write the graph of a backbone at an output stride."""
    import keras_cv  # noqa: PLC0415 - not on the machine that reads

    def noting(kind: str, build: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        def built(**arguments: Any) -> keras.Model:
            stock = build(**arguments)
            text = keras.Model(stock.inputs, stock.output).to_json()
            _file(folder, kind, arguments).write_text(text)
            return stock

        return built

    stock = {k: noting(k, v) for k, v in vars(keras_cv.models).items() if k.endswith("Backbone")}
    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.multiple(keras_cv.models, **stock):
        backbones.get(backbone).build(keras.Input((None, None, 3)), stride)


def use(folder: Path) -> None:
    """Put the graphs of a folder in the place of keras-cv."""

    class Models:
        def __getattr__(self, kind: str) -> Callable[..., keras.Model]:
            def build(**arguments: Any) -> keras.Model:
                return keras.models.model_from_json(_file(folder, kind, arguments).read_text())

            return build

    sys.modules["keras_cv"] = types.SimpleNamespace(models=Models())  # type: ignore[assignment]


def _file(folder: Path, kind: str, arguments: Mapping[str, Any]) -> Path:
    """Return the file of what keras-cv builds from these very arguments, the strides among them."""
    return folder / f"{kind}-{zlib.crc32(json.dumps(arguments, sort_keys=True).encode()):08x}.json"


def main() -> None:
    """Write the graphs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="+", help="names of backbones")
    parser.add_argument("--out", type=Path, required=True, help="folder of the graphs")
    parser.add_argument("--strides", type=int, nargs="+", default=[8, 32], help="of the top map")
    args = parser.parse_args()
    for backbone in args.backbones:
        for stride in args.strides:
            write(backbone, stride, args.out)


if __name__ == "__main__":
    main()

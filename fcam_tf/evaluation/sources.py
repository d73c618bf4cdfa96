"""Where heat maps come from: a CAM of a classifier, a model's own maps, the centre, or files.

Whatever gives maps and class scores for images and labels can be evaluated; these are the sources
the command line knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fcam_tf import checks
from fcam_tf.identity import model_sha256
from fcam_tf.names import FCAM_MAP, listed

if TYPE_CHECKING:
    import keras

    from fcam_tf.cams import Activation
    from fcam_tf.explain import MapsAndLogits

FRAME = 224  # side of the square in which the benchmark scores maps, in pixels
# How coarse maps get there: as F-CAM's code does it, or as the benchmark's.
SCALINGS = ("bilinear", "bicubic")


@runtime_checkable
class MapSource(Protocol):
    """What makes the heat maps of a batch.

    Attributes:
        image_size: (height, width) of the images it wants, or None if it does not look at any.
        num_classes: number of its class scores, or None if it gives none.
        class_names: their names, or None if unknown.

    One whose logits belong to sigmoids says so by ``activation = "sigmoid"``.
    """

    image_size: tuple[int, int] | None
    num_classes: int | None
    class_names: Sequence[str] | None

    def __call__(
        self, ids: Sequence[str], images: Any, labels: Any
    ) -> tuple[Any, NDArray[np.float32] | None]:
        """Makes the maps of a batch.

        Args:
            ids: names of the images.
            images: (B, height, width, 3) float32 RGB in [0, 255], or None.
            labels: (B,) classes to explain, or None for the predicted ones.

        Returns:
            (B, h, w) maps in [0, 1] at any resolution, and (B, classes) logits or None.
        """


@dataclasses.dataclass
class FunctionMaps:
    """The maps of a function, e.g. of a model in training.

    Attributes:
        function: images (B, height, width, 3) and labels (B,) or None -> maps (B, h, w) in [0, 1]
            and logits (B, classes). For the others see ``MapSource``.
    """

    function: MapsAndLogits
    image_size: tuple[int, int] | None
    num_classes: int | None
    class_names: Sequence[str] | None = None
    activation: Activation = "softmax"

    def __call__(
        self, ids: Sequence[str], images: Any, labels: Any
    ) -> tuple[Any, NDArray[np.float32]]:
        """See ``MapSource``."""
        del ids
        maps, logits = self.function(images, labels)
        return maps, np.asarray(logits)


class ModelMaps(FunctionMaps):
    """The maps of a model: of its decoder, or those that explain its class scores.

    Args:
        model: see ``explain.Explainer``.
        method: see ``explain.Explainer``.
        layer: see ``explain.Explainer``.
        **options: see ``explain.Explainer``.

    Attributes:
        model: as given.
        method: the one chosen.
        layer: names of the layers whose maps are weighted, with commas.
        options: those of ``options`` that say something, as JSON values.
        told: all of this for people.
        explained: the model that the maps are made of, without a decoder that they do not pass.

    Raises:
        ValueError: the method does not fit the model.
    """

    def __init__(
        self,
        model: keras.Model,
        method: str | None = None,
        layer: Any = None,
        **options: Any,
    ) -> None:
        from fcam_tf.explain import Explainer  # noqa: PLC0415 - TensorFlow

        made = Explainer(model, method, layer, **options)
        super().__init__(
            made.maps_and_logits,
            made.image_size,
            made.num_classes,
            made.class_names,
            made.activation,
        )
        self.method, self.layer, self.model = made.method, made.layer, model
        self.options, self.told = made.options, made.told
        # What the maps depend on: a CAM of an F-CAM looks at its classifier alone.
        own = made.method == FCAM_MAP
        self.explained = model if own else getattr(model, "classifier", model)
        self._probabilities = made.probabilities

    def scores(self, images: Any, labels: NDArray) -> NDArray[np.float32]:
        """(B,) probability of each image's label, without a map."""
        return np.asarray(self._probabilities(images))[np.arange(len(labels)), labels]

    @cached_property
    def model_sha256(self) -> str:
        """Of the model in memory, see `identity.model_sha256`."""
        return model_sha256(self.model, self.image_size)


class Center:
    """The Center baseline: one map for all images, falling with the distance from the centre.

    Only its level sets matter to box metrics, so that a parabola stands for the Gaussian of the
    benchmark (Choe et al., CVPR 2020, section 5). Its peak is on pixel FRAME / 2.
    """

    image_size = num_classes = class_names = None

    def __init__(self) -> None:
        offset = (np.arange(FRAME) - FRAME // 2) ** 2.0
        distance = offset[:, None] + offset
        self._map = (distance.max() - distance) / distance.max()

    def __call__(self, ids: Sequence[str], images: Any, labels: Any) -> tuple[Any, None]:
        """See ``MapSource``."""
        del images, labels
        return np.broadcast_to(self._map, (len(ids), FRAME, FRAME)), None


class StoredMaps:
    """Maps in a folder of .npy files: the benchmark's ``scoremaps``, or anyone's.

    The map of image ``a/b.jpg`` is ``a/b.jpg.npy`` (as the benchmark's code writes it),
    ``a/b.npy``, ``a_b.jpg.npy`` or ``a_b.npy``.

    Args:
        folder: with the files.
        ids: the images that will be asked for.

    Raises:
        FileNotFoundError: if an image has no file; the message names the first few.
        ValueError: if two images would share a file, or an image has two.
    """

    image_size = num_classes = class_names = None

    def __init__(self, folder: str | Path, ids: Sequence[str]) -> None:
        self._files: dict[str, Path] = {}
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.npy")}
        missing, owner = [], dict[str, str]()
        for name in ids:
            file = next((file for file in _file_names(name) if file in there), None)
            if file is None:
                missing.append(name)
            elif owner.setdefault(file, name) != name:
                raise ValueError(f"{folder / file} would be the map of {owner[file]} and of {name}")
            else:
                self._files[name] = folder / file
        for name in ids:
            for file in there.intersection(_file_names(name)):
                if owner.setdefault(file, name) == name and folder / file != self._files.get(name):
                    both = f"{folder / file} and {self._files[name]}"
                    raise ValueError(f"{both} would both be the map of {name}; remove one")
        if missing:
            wanted = " or ".join(_file_names(missing[0]))
            raise FileNotFoundError(
                f"{folder} lacks the maps of {len(missing)} of {len(ids)} images: "
                f"{listed(missing)}. The first would be {wanted}"
            )

    def __call__(
        self, ids: Sequence[str], images: Any, labels: Any
    ) -> tuple[list[NDArray[np.float64]], None]:
        """See ``MapSource``; the files are read as they are."""
        del images, labels
        return [self._read(name) for name in ids], None

    def files(self, ids: Sequence[str]) -> list[Path]:
        """The file of each map."""
        return [self._files[name] for name in ids]

    def _read(self, name: str) -> NDArray[np.float64]:
        file = self._files[name]
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise ValueError(f"the map of {name}, {file}, cannot be read: {error}") from None
        if array.shape != (FRAME, FRAME):
            raise ValueError(
                f"the map of {name}, {file}, has shape {array.shape}; the benchmark scores maps "
                f"of ({FRAME}, {FRAME}). metrics.normalize_cam resizes a CAM as its code does."
            )
        return array


def check_scaling(source: MapSource, scaling: str) -> None:
    """Raises ValueError if there is no such scaling, or the maps are as fine as images already."""
    checks.choice("scaling", scaling, SCALINGS)
    fine = (
        isinstance(source, (Center, StoredMaps))
        or getattr(source, "method", "") == FCAM_MAP
        or "refine" in getattr(source, "options", ())
    )
    if fine and scaling != SCALINGS[0]:
        raise ValueError(
            f"`scaling` must be {SCALINGS[0]!r} for maps that are not coarse: those of a decoder, "
            "of files and of the centre, and those that are refined, are scored as they are. "
            f"Received: {scaling!r}."
        )


def _file_names(name: str) -> list[str]:
    stem = str(Path(name).with_suffix(""))
    names = (name, stem, name.replace("/", "_"), stem.replace("/", "_"))
    return [f"{each}.npy" for each in dict.fromkeys(names)]

"""Recipes: every number that a training run depends on, with the paper's values as presets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from fcam_tf import checks
from fcam_tf.data.folder import VAL_FRACTION
from fcam_tf.losses import FCAMLoss
from fcam_tf.metrics import MEASURES
from fcam_tf.names import current, lookup, parsed

SELECT = (*(name for name, measure in MEASURES.items() if measure.meaning), "accuracy")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What both stages have in common (F-CAM, section 4).

    Attributes:
        epochs: passes over the training split; 0 scores the model and keeps it as it is.
        batch_size: images in a step.
        optimizer: "sgd", the paper's, with Nesterov momentum, or "adam".
        learning_rate: of the optimizer.
        lr_step: epochs after which the learning rate falls by ``lr_factor``; 0 keeps it.
        lr_factor: see ``lr_step``.
        momentum: of SGD, or beta_1 of Adam.
        weight_decay: coupled L2 on all that trains.
        ema: momentum, for a step, of the exponential moving average of the weights, which is then
            scored and kept instead of the weights; 0 for none.
        clip_norm: largest norm of the whole gradient; 0 does not clip.
        resize: side to which training images are resized, in pixels.
        crop: side of the random crop, in pixels; also the size at which is evaluated.
        flip: whether to flip half of the training images.
        mixed_precision: train in float16 with loss scaling.
        select: the score on the validation split by which the best epoch is chosen, of `SELECT`.
        val_fraction: fraction of the photos held out as val, where class folders have no val split.
        val_per_class: how many images of each class of val are looked at, always the same ones; 0
            for all. See `fcam_tf.data.Split.drawn`.
        proxy: train on the benchmark's reduced list of images alone, see `fcam_tf.data.reduced`.
        seed: of weights, order, crops, flips and seed pixels.
    """

    epochs: int = 50
    batch_size: int = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    lr_step: int = 0
    lr_factor: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    ema: float = 0.0
    clip_norm: float = 0.0
    resize: int = 256
    crop: int = 224
    flip: bool = True
    mixed_precision: bool = False
    select: str = "MaxBoxAcc"
    val_fraction: float = VAL_FRACTION
    val_per_class: int = 0
    proxy: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                smallest = 1 if name in ("batch_size", "resize", "crop", "stored_size") else 0
                checks.number(name, value, f"[{smallest}, inf)")
        for name in ("val_fraction", "ema"):
            checks.number(name, getattr(self, name), "[0, 1)")
        if self.crop > self.resize:
            raise ValueError(
                f"`crop` must not exceed `resize`. Received: {self.crop} and {self.resize}."
            )
        checks.choice("select", self.select, SELECT)
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                checks.choice(name, getattr(self, name), get_args(kind))

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, which counts from 1; never below 1e-7."""
        falls = (epoch - 1) // self.lr_step if self.lr_step else 0
        return max(self.learning_rate * self.lr_factor**falls, 1e-7)

    def changed(self, settings: Iterable[str]) -> Self:
        """Return a copy with settings of the form ``key=value`` applied.

        Values are JSON, or text where they are not; commas separate several (``layer=P4,P5``), and
        ``loss.crf=4e-9`` reaches into a mapping.

        Raises:
            ValueError: no such key, or a value of another type.
        """
        values = dataclasses.asdict(self)
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise ValueError(f"A setting must be KEY=VALUE. Received: {setting!r}.")
            value = parsed(text)
            key, _, inner = key.partition(".")
            lookup(values, key, "setting")
            if inner and not isinstance(values[key], dict):
                raise ValueError(
                    f"`{key}` is one value, without settings of its own. Received: {setting!r}."
                )
            if inner:
                value = {**values[key], inner: value}
            values[key] = value
        return type(self).from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a recipe from plain values, each checked against the type of its default.

        Raises:
            ValueError: an unknown key or a value of another type.
        """
        defaults, kinds = vars(cls()), get_type_hints(cls)
        checked = {}
        for key, value in values.items():
            default = lookup(defaults, key, "setting")
            if isinstance(default, float) and type(value) is int:
                value = float(value)  # noqa: PLW2901
            if isinstance(default, tuple):
                value = _several(key, value, get_args(kinds[key])[0])  # noqa: PLW2901
            if type(value) is not type(default):
                raise ValueError(
                    f"`{key}` must be {type(default).__name__}. Received: {value!r}, "
                    f"{type(value).__name__}."
                )
            checked[key] = value
        return cls(**checked)

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read a recipe from a JSON file.

        Raises:
            ValueError: the file is not a JSON object, or see ``from_dict``; the message names it.
            OSError: it cannot be read.
        """
        try:
            values = json.loads(Path(path).read_bytes(), object_hook=current)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a recipe: {error}.") from None
        if not isinstance(values, dict):
            raise ValueError(f"{path} is not a recipe: it must hold one JSON object.")  # noqa: TRY004
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """How a classifier is trained (the paper's first stage).

    Attributes:
        head_ratio: factor of the learning rate for the head and, of the paper's backbones, the
            last stage; of ACoL and SPG for what the benchmark's code trains so.
        train: "all", or "head" for the linear head on fixed features.
        baseline: hyper-parameters of the method that the classifier is trained with, where that is
            one of `fcam_tf.baselines`.
    """

    learning_rate: float = 0.0017
    lr_step: int = 15
    head_ratio: float = 10.0
    train: Literal["all", "head"] = "all"
    baseline: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FCAMRecipe(Recipe):
    """How the decoder is trained (the paper's second stage).

    Attributes:
        layer: the map or maps that the teacher weights, see `fcam_tf.models.FCAM`; empty for the
            top map.
        cams: "online": the CAM of the augmented crop, by the model's own teacher in the step;
            "stored": the CAM of the whole image, made once, as in the paper.
        stored_scales: sizes relative to ``crop`` at which the whole image is explained, 1 among
            them; the maps are averaged, see `fcam_tf.cams.CAM`. This, as what follows, is for
            stored maps alone.
        stored_flip: whether its mirror image is explained, too.
        stored_refine: "crf" to align the stored maps with the photos, see `fcam_tf.refine`.
        stored_size: largest side of a stored map, in cells.
        decoder: "unet", or "linear" for one 1x1 convolution on the top map.
        decoder_filters: channels of the decoder's blocks; empty for those that suit the backbone.
        train: "decoder" behind a frozen classifier, or "all".
        loss: arguments of `fcam_tf.losses.FCAMLoss` that differ from its defaults. A weight of
            ``masks`` makes it full supervision, which needs a split with masks or boxes.
    """

    layer: tuple[str, ...] = ()
    cams: Literal["online", "stored"] = "online"
    stored_scales: tuple[float, ...] = (1.0,)
    stored_flip: bool = False
    stored_refine: Literal["", "crf"] = ""
    stored_size: int = 64
    decoder: Literal["unet", "linear"] = "unet"
    decoder_filters: tuple[int, ...] = ()
    train: Literal["decoder", "all"] = "decoder"
    loss: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if self.cams == "online" and "stored_" in field.name and value != field.default:
                raise ValueError(
                    f"`{field.name}` is for cams='stored': online the model's own teacher explains "
                    f"the crop of each step. Received: {value!r}, and cams='online'."
                )
        options = FCAMLoss().get_config()
        for name in self.loss:
            lookup(options, name, "setting of loss")
        try:
            FCAMLoss(**self.loss)
        except TypeError as error:
            raise ValueError(f"`loss` contains a value of a wrong type: {error}") from None

    @property
    def filters(self) -> tuple[int, ...] | None:
        """The ``decoder_filters`` of `fcam_tf.models.FCAM`."""
        return () if self.decoder == "linear" else self.decoder_filters or None


def _several(name: str, value: Any, kind: type) -> tuple[Any, ...]:
    """Return values of one type: of a list, of a text with commas, or one value alone."""
    if isinstance(value, str):
        value = [item if kind is str else parsed(item) for item in value.split(",")]
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if kind is float:
        items = tuple(float(item) if type(item) is int else item for item in items)
    if any(type(item) is not kind or item == "" for item in items):
        raise ValueError(
            f"`{name}` must be {kind.__name__}, with commas between several. Received: {value!r}."
        )
    return items


_MASKS_ALONE = {"masks": 1.0, "seeds": 0.0, "crf": 0.0, "size": 0.0}
CLASSIFIER_PRESETS: Mapping[str, ClassifierRecipe] = {
    "cub": ClassifierRecipe(),
    "openimages": ClassifierRecipe(epochs=10, lr_step=3, select="PxAP"),
    "ilsvrc": ClassifierRecipe(epochs=10, lr_step=3),
    # Hundreds of photos and a pretrained backbone, see docs/tuning.md.
    "small": ClassifierRecipe(
        train="head", epochs=15, batch_size=16, learning_rate=0.05, lr_step=6
    ),
}
FCAM_PRESETS: Mapping[str, FCAMRecipe] = {
    "cub": FCAMRecipe(),
    "openimages": FCAMRecipe(epochs=10, select="PxAP"),
    "ilsvrc": FCAMRecipe(epochs=10),
    "small": FCAMRecipe(
        epochs=12,
        batch_size=8,
        optimizer="adam",  # SGD does not leave the plateau of some data, see docs/tuning.md
        learning_rate=0.001,
        lr_step=9,
        select="PxAP",
        loss={
            "positives": 5,
            "negatives": 5,
            "negative_fraction": 0.3,
            "crf": 2.4e-8,
            # Before there is a map to sharpen, so much of it holds the map where it is.
            "windows": {"crf": [2, None]},
        },
    ),
}

# Full supervision by the masks or boxes of the split that it is given.
FSL_PRESETS: Mapping[str, FCAMRecipe] = {
    name: dataclasses.replace(
        recipe, loss=_MASKS_ALONE, train="decoder" if name == "small" else "all"
    )
    for name, recipe in FCAM_PRESETS.items()
}


def get(stage: str, name: str) -> Recipe:
    """Return a preset by its name, or the recipe in a JSON file.

    Raises:
        ValueError: no such stage ("classifier", "fcam", "fsl"), or neither a preset nor a file; the
            message gives the nearest names.

    Examples:
        >>> recipe = fcam_tf.training.get("fcam", "small")
        >>> recipe.epochs, recipe.optimizer
        (12, 'adam')
    """
    if Path(name).suffix == ".json":
        return (ClassifierRecipe if stage == "classifier" else FCAMRecipe).from_json(name)
    presets: Mapping[str, Mapping[str, Recipe]] = {
        "classifier": CLASSIFIER_PRESETS,
        "fcam": FCAM_PRESETS,
        "fsl": FSL_PRESETS,
    }
    return lookup(lookup(presets, stage, "stage"), name, "recipe")

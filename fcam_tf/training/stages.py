"""From the names of a model and a data set to a finished run: what all training commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fcam_tf import baselines, checks, data
from fcam_tf.data import Split
from fcam_tf.data.load import find_root
from fcam_tf.identity import weights_identity
from fcam_tf.models import FCAM, Classifier
from fcam_tf.models.classifier import layers_of
from fcam_tf.training import recipe as recipes
from fcam_tf.training.cam_store import Teacher
from fcam_tf.training.fsl import divide
from fcam_tf.training.loop import Splits
from fcam_tf.training.recipe import ClassifierRecipe, FCAMRecipe, Recipe
from fcam_tf.training.run_folder import RunFolder
from fcam_tf.training.trainer import (
    check_classifier,
    check_fcam,
    fit_classifier,
    fit_fcam,
    taught,
)

# Settings of an F-CAM on which its stored maps depend: `load_split` and `teacher_of` read them.
STORED_BY = (
    *("layer", "crop", "mixed_precision", "val_fraction", "proxy"),
    *("stored_scales", "stored_flip", "stored_refine", "stored_size"),
)


@dataclasses.dataclass(frozen=True)
class Start:
    """What a training starts from, beside data and recipe."""

    model: str | Callable[[], keras.Model]  # name of a backbone, or a function that loads a model
    # Whose map is scored or teaches; None is the one that the model was built for, or "cam". That
    # of a baseline is also how a classifier of a backbone is trained.
    method: str | None = None
    output_stride: int | None = None  # of a backbone; None for its default
    weights: str = "imagenet"  # of a backbone: "imagenet", a file or "none"
    cams: str | Path | None = None  # folder of stored maps that runs share; None: in the run
    mirrored: bool = False  # share each batch among all GPUs
    model_sha256: str | None = None  # of the file that ``model`` loads, if it does
    weights_identity: str | None = None  # of ``weights`` when they were named; None takes any


def recipe_of(stage: str, name: str, settings: Iterable[str] = ()) -> Recipe:
    """Return a recipe, see `get`, with settings applied, see `Recipe.changed`; both may refuse."""
    recipe = recipes.get(stage, name).changed(settings)
    if stage == "fsl" and isinstance(recipe, FCAMRecipe) and not recipe.loss.get("masks"):
        raise ValueError(
            "`loss.masks` must be above 0: it is the masks that teach in the stage fsl. Received: "
            f"recipe {name} with loss={recipe.loss}."
        )
    return recipe


def load_splits(
    stage: str,
    root: str,
    recipe: Recipe,
    tell: Callable[[str], Any],
    *,
    skip_broken: bool = False,
) -> tuple[Splits, Recipe]:
    """Load the splits that train and that choose the best epoch, and say what chooses it.

    Args:
        stage: "classifier", "fcam" or "fsl".
        root: the data set.
        recipe: the recipe of the stage.
        tell: is called with notes for the user, line by line.
        skip_broken: decode all photos, and leave out those that cannot be decoded; otherwise only
            their headers are read.

    Returns:
        Both splits, the second None where it cannot choose; and the recipe, selecting by accuracy
        where that is all that val can tell of a classifier.

    Raises:
        FileNotFoundError, ValueError: there is nothing to train on, or a single class; or no
            reduced list, which the recipe asks for.
        DataError: photos cannot be read; the message names them.
    """
    load = functools.partial(load_split, root, recipe=recipe, tell=tell, skip_broken=skip_broken)
    if stage == "fsl":
        return divide(load("val")), recipe
    for note in data.folder_notes(root, recipe.val_fraction):
        tell(note)
    images = load("train")
    if stage == "classifier" and (problem := data.single_class(images)):
        raise ValueError(f"{root} {problem}.")
    validation: Split | None
    try:
        validation = load("val")
    except FileNotFoundError:
        tell("there is no val split: the last epoch will be kept, not the best")
        return (images, None), recipe
    if validation.boxes is None and validation.masks is None and recipe.select != "accuracy":
        without = "no boxes or masks for val"
        if stage == "classifier":
            tell(f"{without}: the epoch of the best accuracy will be kept")
            return (images, validation), dataclasses.replace(recipe, select="accuracy")
        tell(f"{without}: the last epoch will be kept, not the best")
        validation = None
    return (images, validation), recipe


def load_split(
    root: str, name: str, recipe: Recipe, tell: Callable[[str], Any], *, skip_broken: bool = False
) -> Split:
    """Load one split as `load_splits` does, as far as the recipe looks at it."""
    split = _images(root, name, recipe)
    if skip_broken:
        return data.without_broken(split, tell)
    if broken := data.broken_photos(split):
        raise data.DataError(broken, "leave them out with --skip-broken")
    return split


def _images(root: str, name: str, recipe: Recipe) -> Split:
    split = data.load(root, name, recipe.val_fraction)
    if name == "train" and recipe.proxy:
        return data.reduced(find_root(root), split)
    if name == "val" and recipe.val_per_class:
        return split.drawn(recipe.val_per_class)
    return split


def train(
    stage: str,
    start: Start,
    recipe: Recipe,
    splits: Splits,
    out: str | Path,
    *,
    asked: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Train a stage ("classifier", "fcam", "fsl") into a folder, or go on with it.

    Args:
        stage: see above.
        start: what is trained.
        recipe: the recipe of the stage.
        splits: what trains, and what chooses the best epoch.
        out: the folder.
        asked: what `recall_run` will know the finished run by.

    Raises:
        NotImplementedError: Keras has another backend than TensorFlow.
        ValueError: see `fit_classifier`; or settings of a baseline that is not trained with.
    """
    checks.tensorflow_backend("training by a recipe")
    if stage == "fcam" and isinstance(start.model, str):
        raise ValueError(
            "`model` must load a trained classifier in the stage fcam. Received: the backbone "
            f"{start.model!r}."
        )
    with _prepared(start, recipe):
        if isinstance(recipe, ClassifierRecipe):
            model, about = _classifier(start, recipe, splits[0])
            method = method_of(start.method, model)
            return fit_classifier(
                model, *splits, recipe, out, method=method, about=about, asked=asked
            )
        if isinstance(recipe, FCAMRecipe):
            model = _fcam(start, recipe, splits[0])
            return fit_fcam(model, *splits, recipe, out, cache=start.cams, asked=asked)
    raise TypeError(f"`recipe` must be a ClassifierRecipe or an FCAMRecipe. Received: {recipe}.")


def check(start: Start, recipe: Recipe, splits: Splits) -> None:
    """Refuse what `train` would, without training: build the model, and look at it and the splits.

    Args:
        start: what is trained; of an F-CAM also the name of a backbone, while there is no
            classifier yet.
        recipe: of the stage, which it decides.
        splits: what trains, and what chooses the best epoch.

    Raises:
        ValueError: see `train`.
        WeightsUnavailableError: the initial weights cannot be had.
    """
    with _prepared(start, recipe):
        if isinstance(recipe, ClassifierRecipe):
            model, _ = _classifier(start, recipe, splits[0])
            check_classifier(model, *splits, recipe, method=method_of(start.method, model))
        if isinstance(recipe, FCAMRecipe):
            check_fcam(_fcam(start, recipe, splits[0]), *splits, recipe, cache=start.cams)


def teacher_of(start: Start, recipe: Recipe, images: Split) -> tuple[Teacher, Split]:
    """Return what makes the maps that `train` stores in the stage fcam, and of which images.

    Args:
        start: what is trained; ``cams`` is where.
        recipe: with ``cams="stored"``.
        images: what trains; none are read.

    Returns:
        The teacher, and the images with the labels that it is asked for.

    Raises:
        ValueError: see `train`; or the recipe stores no maps.
    """
    if not isinstance(recipe, FCAMRecipe) or recipe.cams != "stored":
        found = getattr(recipe, "cams", None)
        raise ValueError(f"`cams` must be 'stored' for maps that are stored. Received: {found!r}.")
    with _prepared(start, recipe):
        teacher, images = taught(_fcam(start, recipe, images), images, recipe, start.cams)
    assert teacher is not None  # noqa: S101 - a recipe that stores maps has one
    return teacher, images


@contextlib.contextmanager
def _prepared(start: Start, recipe: Recipe) -> Iterator[None]:
    """Build models in the precision and for the devices of a training, from its seed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(layers_of("mixed_float16" if recipe.mixed_precision else None))
        if start.mirrored:
            stack.enter_context(tf.distribute.MirroredStrategy().scope())
        keras.utils.set_random_seed(recipe.seed)
        yield


def method_of(method: str | None, classifier: keras.Model) -> str:
    """Return the method that is named, else the one that a classifier was built for, else "cam"."""
    baseline = getattr(classifier, "baseline", None)
    return method or (baseline and baseline.name) or "cam"


def _classifier(
    start: Start, recipe: ClassifierRecipe, images: Split
) -> tuple[keras.Model, dict[str, Any]]:
    """Return the classifier that is trained, and what the run depends on for it."""
    baseline = start.method if start.method in baselines.METHODS else None
    model = None if isinstance(start.model, str) else _in_precision(start.model(), recipe)
    built = getattr(model, "baseline", baselines.Baseline())
    if recipe.baseline and not (baseline or built.name):
        raise ValueError(
            "`baseline` holds settings of a method that changes how a classifier is trained, and "
            f"`method` is {start.method or 'cam'}. Available: {', '.join(baselines.METHODS)}."
        )
    if isinstance(start.model, str):
        model = _built(start.model, start, images, recipe.baseline)
    elif (baseline or recipe.baseline) and built != baselines.get(
        baseline or built.name, **recipe.baseline
    ):
        raise ValueError(
            f"`method` {start.method!r} with settings {recipe.baseline} needs a classifier that "
            f"was built for them, and the model was built for {built}. Name a backbone, or leave "
            "out `method` and the settings of `baseline`."
        )
    return model, {
        "backbone": start.model if isinstance(start.model, str) else None,
        "output_stride": start.output_stride,
        "weights": start.weights_identity or weights_identity(start.weights),
        "model_sha256": start.model_sha256,
    }


def _fcam(start: Start, recipe: FCAMRecipe, images: Split) -> FCAM:
    if isinstance(start.model, str):
        classifier = _built(start.model, start, images)
    else:
        given = start.model()
        classifier = _in_precision(getattr(given, "classifier", given), recipe)
    method = method_of(start.method, classifier)
    model = FCAM.from_classifier(
        classifier,
        method=method,
        layer=recipe.layer or None,
        decoder_filters=recipe.filters,
        seed=recipe.seed,
    )
    if model.class_names is None and model.num_classes == len(images.class_names):
        model.class_names = images.class_names
    return model


def _built(
    backbone: str, start: Start, train: Split, options: Mapping[str, Any] | None = None
) -> Classifier:
    classifier = Classifier(
        backbone,
        len(train.class_names),
        output_stride=start.output_stride,
        weights=None if start.weights == "none" else start.weights,
        class_names=train.class_names,
        baseline=start.method if start.method in baselines.METHODS else None,
        options=options,
    )
    # Looked at again once they are read: a search may run for days, and they are part of each run.
    if start.weights_identity not in (None, weights_identity(start.weights)):
        raise ValueError(
            f"`weights` {start.weights} was replaced meanwhile; put the former file back, or begin "
            "anew in another folder"
        )
    return classifier


def _in_precision(classifier: keras.Model, recipe: Recipe) -> keras.Model:
    """Return a classifier of ours in the precision of a recipe, any other model as it is."""
    wanted = "mixed_float16" if recipe.mixed_precision else "float32"
    if isinstance(classifier, Classifier) and classifier.dtype_policy.name != wanted:
        return classifier.copy(wanted)
    return classifier

"""Training both stages: thin layers over ``compile`` and ``fit``."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fcam_tf import cams
from fcam_tf.baselines import Baseline
from fcam_tf.data import Split
from fcam_tf.graphs import graph
from fcam_tf.identity import model_sha256
from fcam_tf.losses import FCAMLoss, SparseSigmoidCrossentropy
from fcam_tf.models import FCAM, Classifier
from fcam_tf.names import listed
from fcam_tf.optimizer import CoupledAdam, CoupledSGD, optimizer_of  # noqa: F401 - the package's
from fcam_tf.training.cam_store import Teacher, store
from fcam_tf.training.loop import check, fit, knows_classes
from fcam_tf.training.recipe import ClassifierRecipe, FCAMRecipe
from fcam_tf.training.run_folder import RunFolder


def fit_classifier(
    classifier: keras.Model,
    train: Split,
    validation: Split | None,
    recipe: ClassifierRecipe,
    out: str | Path,
    *,
    method: str = "cam",
    about: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Any = "auto",
) -> RunFolder:
    """Train a classifier, and keep the epoch whose maps localise best on the validation split.

    A run that was stopped goes on where it was, to the same result, if it is called again with
    the same arguments.

    Args:
        classifier: a `Classifier`, also one with a baseline, or any functional Keras model that
            gives logits or ends in a softmax or sigmoid.
        train: images and labels.
        validation: what to select by; None keeps the last epoch.
        recipe: everything else.
        out: folder of the run, see `RunFolder`.
        method: CAM method whose maps are scored.
        about: what else the run depends on, as JSON values. A folder with a run of other values,
            or of other layers, is refused; the initial weights of the classifier are not compared,
            as those of a new head differ at each start.
        asked: what `recall_run` will know the finished run by, as JSON values.
        callbacks: further callbacks of ``fit``.
        verbose: as of ``fit``.

    Returns:
        The run; ``run.best`` is the file of the chosen model.

    Raises:
        TypeError: ``classifier`` is an F-CAM.
        ValueError: labels that are not classes of the model, a split without what ``recipe.select``
            needs, another precision than the recipe's, or batches that cannot be shared by all
            devices.
        SettingsChangedError: ``out`` holds another run.
        FolderBusyError: another process is training in ``out``.
        TrainingDivergedError: a loss was NaN or infinite.

    Examples:
        >>> pets = fcam_tf.data.load("pets", "train")
        >>> model = fcam_tf.models.Classifier("efficientnetlite_b0", num_classes=3, weights=None)
        >>> recipe = fcam_tf.training.ClassifierRecipe(epochs=1, resize=64, crop=64)
        >>> run = fcam_tf.training.fit_classifier(model, pets, None, recipe, "runs/pets", verbose=0)
        >>> run.best.name
        'best.keras'
    """
    cam = _ready_classifier(classifier, train, recipe, method)
    about = {"method": method, "layer": ",".join(cam.layers), **(about or {})}
    settings = {"stage": "classifier", **about}
    baseline = getattr(classifier, "baseline", Baseline())
    if baseline.name:
        settings["baseline"] = {"name": baseline.name, **dataclasses.asdict(baseline)}
    return fit(
        classifier,
        cam.maps_and_logits,
        (train, validation),
        recipe,
        out,
        settings=settings,
        asked=asked,
        callbacks=callbacks,
        verbose=verbose,
        augment=baseline.augment if baseline.augments else None,
    )


def check_classifier(
    classifier: keras.Model,
    train: Split,
    validation: Split | None,
    recipe: ClassifierRecipe,
    *,
    method: str = "cam",
) -> None:
    """Refuse what `fit_classifier` would, without training; it compiles the classifier."""
    cam = _ready_classifier(classifier, train, recipe, method)
    check(classifier, cam.maps_and_logits, (train, validation), recipe)


def _ready_classifier(
    classifier: keras.Model, train: Split, recipe: ClassifierRecipe, method: str
) -> cams.CAM:
    """Compile a classifier that can be trained so; return what makes its maps."""
    if isinstance(classifier, FCAM):
        raise TypeError(
            "`classifier` must be a classifier. Received an F-CAM: name the model that it was made "
            "from, or give its .classifier in Python."
        )
    flat = graph.flatten(classifier)
    ending = cams.ending_of(flat, classifier.loss)
    if len(train.class_names) != ending.num_classes:
        raise ValueError(
            f"`classifier` must have the {len(train.class_names)} classes of the data "
            f"({listed(train.class_names, 3)}). Received one of {ending.num_classes} classes. Name "
            "a backbone instead, or give your model a new last layer."
        )
    _check_labels(train, ending.num_classes)
    head = next(layer for layer in reversed(flat.layers) if layer.weights)
    _compile_classifier(classifier, f"{head.name}/", ending, recipe)
    return cams.get(method, classifier)


def fit_fcam(
    model: FCAM,
    train: Split,
    validation: Split | None,
    recipe: FCAMRecipe,
    out: str | Path,
    *,
    cache: str | Path | None = None,
    asked: Mapping[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Any = "auto",
) -> RunFolder:
    """Train the decoder of an F-CAM, and keep the epoch that localises best.

    See `fit_classifier` for what both have in common.

    Args:
        model: F-CAM from a trained classifier.
        train: images and labels, and masks or boxes where the loss has a weight for them. Where the
            model's classes are not those of the split, or a label is -1, the map of the predicted
            class teaches.
        validation: what to select by; None keeps the last epoch.
        recipe: everything else.
        out: folder of the run.
        cache: folder of the maps of ``cams="stored"``, see `stored_cams`; several runs may share
            one. None keeps them in the run.
        asked: as of `fit_classifier`.
        callbacks: further callbacks of ``fit``.
        verbose: as of ``fit``.

    Raises:
        SettingsChangedError: ``out`` holds another run, or the cache maps of something else.
        ValueError: see `fit_classifier`; or the recipe names other layers than the model's teacher
            weights, or scales that the model does not take.

    Examples:
        >>> pets = fcam_tf.data.load("pets", "train")
        >>> recipe = fcam_tf.training.FCAMRecipe(epochs=1, resize=64, crop=64)
        >>> run = fcam_tf.training.fit_fcam(model, pets, None, recipe, "runs/pets-fcam", verbose=0)
        >>> found = fcam_tf.models.load(run.best).localize(images)
    """
    teacher, train = ready_fcam(model, train, recipe, cache)
    settings = {"stage": "fcam", **_about(model), "decoder_filters": model.decoder_filters}
    if recipe.cams == "online" and model.teacher.averages:
        settings |= {"scales": [*model.teacher.scales], "flip": model.teacher.flip}

    def stored(run: RunFolder) -> NDArray | None:
        if teacher is None:
            return None
        return store(teacher, train, cache or run.folder / "cams", verbose=verbose)

    return fit(
        model,
        model.maps_and_logits,
        (train, validation),
        recipe,
        out,
        settings=settings,
        asked=asked,
        stored=stored,
        callbacks=callbacks,
        verbose=verbose,
        with_masks=recipe.loss.get("masks", 0) > 0,
    )


def check_fcam(
    model: FCAM, train: Split, validation: Split | None, recipe: FCAMRecipe, *, cache: Any = None
) -> None:
    """Refuse what `fit_fcam` would, without training; it compiles the model."""
    _, train = ready_fcam(model, train, recipe, cache)
    check(model, model.maps_and_logits, (train, validation), recipe)


def ready_fcam(
    model: FCAM, train: Split, recipe: FCAMRecipe, cache: Any
) -> tuple[Teacher | None, Split]:
    """Compile an F-CAM that can be trained so; return what makes stored maps, and the images."""
    if recipe.loss.get("masks", 0) > 0 and train.masks is None and train.boxes is None:
        raise ValueError(
            f"`loss.masks` is for a split with masks or boxes, and {train.name!r} has none."
        )
    _compile_fcam(model, recipe)
    return taught(model, train, recipe, cache)


def taught(
    model: FCAM, train: Split, recipe: FCAMRecipe, cache: Any
) -> tuple[Teacher | None, Split]:
    """Return what makes the stored maps of a recipe, if it stores any, and of which images."""
    _check_teacher(model, recipe, cache)
    teacher = None
    if recipe.cams == "stored":
        options = {"scales": recipe.stored_scales, "flip": recipe.stored_flip}
        refine = recipe.stored_refine or None
        teacher = Teacher(
            cams.get(model.method, model.classifier, model.layer, **options),
            # Maps stored before there was such a choice are those without it.
            {**_about(model), **options, **({"refine": refine} if refine else {})},
            recipe.crop,
            recipe.stored_size,
            refine,
        )
    return teacher, _with_known_labels(train, model)


def _about(model: FCAM) -> dict[str, Any]:
    return {
        "classifier": model_sha256(model.classifier),
        "method": model.method,
        "layer": ",".join(model.teacher.layers),
    }


def _compile_classifier(
    classifier: keras.Model, head: str, ending: cams.Ending, recipe: ClassifierRecipe
) -> None:
    """Compile a classifier by a recipe; what trains faster are its head and its last stage."""
    fast: Sequence[str] = (head,)
    if isinstance(classifier, Classifier):
        classifier.unfreeze()
        classifier.input_size = recipe.crop
        if recipe.train == "head":
            classifier.freeze(head=False)
        spec = classifier.spec
        fast = spec.fast_by_baseline.get(classifier.baseline.name, (*spec.fast_learners, head))
    multipliers = dict.fromkeys(fast, recipe.head_ratio)
    classifier.compile(
        optimizer=optimizer_of(recipe, {} if recipe.train == "head" else multipliers),
        **_scored_by(ending),
    )


def _compile_fcam(model: FCAM, recipe: FCAMRecipe) -> None:
    model.freeze()
    if recipe.train == "all":
        model.unfreeze()
    model.input_size = model.inputs[0].shape[1] or recipe.crop
    model.compile(optimizer=optimizer_of(recipe), loss=FCAMLoss(**recipe.loss))


def _check_teacher(model: FCAM, recipe: FCAMRecipe, cache: str | Path | None) -> None:
    """Raise a ValueError unless a recipe's maps are those of a model's teacher."""
    if cache and recipe.cams != "stored":
        raise ValueError(
            f"`cache` keeps the maps of a recipe with cams='stored'. Received: {str(cache)!r}, and "
            f"a recipe with cams={recipe.cams!r}."
        )
    named = [model.layer] if isinstance(model.layer, str) else model.layer or ()
    if recipe.layer and {*recipe.layer} not in ({*named}, {*model.teacher.layers}):
        raise ValueError(
            f"`layer` of the recipe is {','.join(recipe.layer)}, and the teacher of the model "
            f"weights {','.join(model.teacher.layers)}. Build the F-CAM with "
            f"layer={[*recipe.layer]}."
        )


def _with_known_labels(train: Split, model: FCAM) -> Split:
    """Return a split whose labels are classes of the model; of other classes all are -1."""
    if knows_classes(model, train):
        _check_labels(train, model.num_classes, lowest=-1)
        return train
    warnings.warn(
        f"The {model.num_classes} classes of the model are not the {len(train.class_names)} of "
        "the data: the maps of the predicted classes teach.",
        stacklevel=4,
    )
    return dataclasses.replace(train, labels=np.full(len(train), -1))


def _scored_by(ending: cams.Ending) -> dict[str, Any]:
    """Return the loss and the metrics of a classifier's outputs against class numbers."""
    logits = not ending.gives_probabilities
    if ending.units == 1:
        binary = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if logits else 0.5)
        return {"loss": keras.losses.BinaryCrossentropy(logits), "metrics": [binary]}
    if ending.activation == "sigmoid":
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        return {"loss": SparseSigmoidCrossentropy(logits), "metrics": [accuracy]}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    return {"loss": loss, "metrics": ["accuracy"]}


def _check_labels(split: Split, num_classes: int, lowest: int = 0) -> None:
    """Raise a ValueError unless all labels are classes of the model."""
    wrong = np.flatnonzero((split.labels < lowest) | (split.labels >= num_classes))
    if wrong.size:
        index = int(wrong[0])
        raise ValueError(
            f"`labels` must lie in [{lowest}, {num_classes}), the classes of the model. "
            f"{split.ids[index]} of {split.name!r} has {split.labels[index]}."
        )

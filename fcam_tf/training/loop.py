"""What both stages share: a compiled model, its splits and a recipe become a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from fcam_tf import cams
from fcam_tf.claim import REMEDY, SettingsChangedError
from fcam_tf.data import Split, evaluation_dataset, naming_photos, training_dataset
from fcam_tf.data.parts import Parts
from fcam_tf.explain import MapsAndLogits
from fcam_tf.graphs.ranges import expect_rgb
from fcam_tf.graphs.replicas import machines, replicas
from fcam_tf.identity import model_sha256, split_sha256, times_sha256
from fcam_tf.names import listed, pixels
from fcam_tf.training.callbacks import (
    KeepBest,
    OwnLine,
    StopOnNaN,
    TrainingDivergedError,
    tensorboard,
)
from fcam_tf.training.convergence import draw_convergence
from fcam_tf.training.ema import MovingAverage
from fcam_tf.training.recipe import Recipe
from fcam_tf.training.run_folder import PLOT, TIMES, RunFolder
from fcam_tf.training.setting_error import SettingError
from fcam_tf.training.validation import Validation
from fcam_tf.training.workers import fit_together, open_together

Splits = tuple[Split, Split | None]


def fit(
    model: keras.Model,
    maps_and_logits: MapsAndLogits,
    splits: Splits,
    recipe: Recipe,
    out: str | Path,
    *,
    settings: Mapping[str, Any],
    asked: Mapping[str, Any] | None,
    stored: Callable[[RunFolder], ArrayLike | None] = lambda _: None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: Any,
    **batches: Any,
) -> RunFolder:
    """Train a compiled model into a folder, or go on with it, see `fit_classifier`.

    ``settings`` is what the run depends on besides model, splits and recipe. ``stored`` makes the
    teacher's maps where they are not made in the step; ``batches`` goes to `training_dataset`.
    """
    train, validation = splits
    explain, validate = check(model, maps_and_logits, splits, recipe)
    settings = {**settings, **_described(model, splits, recipe)}
    verbose = 0 if machines()[0] else verbose  # the first tells of all
    # Who asked has looked at all files already, which takes long where there are many.
    times = (asked or {}).get(TIMES) or times_sha256(*filter(None, splits))
    with open_together(out, settings, recipe.epochs, asked, times) as run:
        if run.state.history and not run.best.exists() and machines()[0] == 0:
            raise SettingsChangedError(
                f"{run.best} is gone, the model of the epoch chosen so far; {REMEDY}"
            )
        run.restore(model)
        plot = run.folder / PLOT
        if not run.finished:
            batches |= {"cams": stored(run), "verbose": verbose}
            with naming_photos(*filter(None, splits)), _telling_divergence(model, run):
                average = [MovingAverage(recipe.ema, run.average())] if recipe.ema else []
                keep = KeepBest(run, validate, recipe.select, *average)
                shown = tensorboard(explain, validation, run.folder, recipe.crop)
                following = [*average, keep, *shown, *callbacks]
                _train(model, train, recipe, run, callbacks=following, **batches)
        elif plot.exists():  # else killed between the last epoch and its plot
            return run
        draw_convergence(run.state.history, run.state.best, plot)
        return run


def check(
    model: keras.Model, maps_and_logits: MapsAndLogits, splits: Splits, recipe: Recipe
) -> tuple[MapsAndLogits, Callable[[], dict[str, float]]]:
    """Refuse what `fit` would; return what explains the model, and what scores it each epoch."""
    known = knows_classes(model, splits[0])

    def explain(images: Any, labels: Any = None) -> Any:
        return maps_and_logits(images, labels if known else None)

    _check_precision(model, recipe.mixed_precision)
    if recipe.mixed_precision and machines()[1] > 1:
        raise ValueError(
            "`mixed_precision` must be false on several machines: Keras's loss scaling decides on "
            "each by itself whether to take a step. Received: true."
        )
    _check_images(model, recipe.crop)
    check_batches(len(splits[0]), recipe.batch_size)
    return explain, _validate(model, explain, splits, recipe, known)


def _train(
    model: keras.Model,
    train: Split,
    recipe: Recipe,
    run: RunFolder,
    *,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: Any,
    **batches: Any,
) -> None:
    """Train from the last finished epoch of a run to its end."""
    machine, count = machines()
    own = replicas() // count
    dataset = training_dataset(
        train,
        batch_size=recipe.batch_size,
        resize=recipe.resize,
        crop=recipe.crop,
        flip=recipe.flip,
        seed=recipe.seed,
        first_epoch=run.state.epoch,
        parts=Parts(range(machine * own, (machine + 1) * own), replicas()) if count > 1 else None,
        **batches,
    )

    def set_rate(epoch: int, _: Any) -> None:
        model.optimizer.learning_rate = recipe.learning_rate_at(epoch + 1)

    rate = keras.callbacks.LambdaCallback(on_epoch_begin=set_rate)
    line = OwnLine(verbose)
    # The data set shuffles.
    fitted = functools.partial(model.fit, shuffle=False)
    if count > 1:
        fitted = functools.partial(fit_together, model)
    try:
        fitted(
            dataset,
            initial_epoch=run.state.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=-(-len(train) // recipe.batch_size),
            callbacks=[rate, StopOnNaN(), line, *callbacks],
            verbose=verbose,
        )
    except BaseException:
        line.end()
        raise


def knows_classes(model: keras.Model, split: Split) -> bool:
    """Tell whether the classes of a model are those of a split, see `Split.has_classes`."""
    return split.has_classes(_num_classes(model), getattr(model, "class_names", None))


def _num_classes(model: keras.Model) -> int:
    return getattr(model, "num_classes", None) or cams.classes_of(model.output_shape[-1])


def _described(model: keras.Model, splits: Splits, recipe: Recipe) -> dict[str, Any]:
    """Return what a run depends on in either stage, as JSON values."""
    described: dict[str, Any] = {
        "recipe": dataclasses.asdict(recipe),
        "layers": model_sha256(model, weights=False),
        "replicas": replicas(),  # each normalises its part of a batch by itself
    }
    return {**described, **described_splits(splits)}


def described_splits(splits: Splits) -> dict[str, Any]:
    """Return what a run depends on of its splits, as JSON values."""
    described: dict[str, Any] = {}
    for name, split in zip(("train", "validation"), splits, strict=True):
        sha256 = split and split_sha256(split, sizes=True)
        described[name] = split and {"name": split.name, "images": len(split), "sha256": sha256}
    return described


def check_batches(images: int, batch_size: int) -> None:
    """Raise a ValueError where a batch would leave a device of the strategy without an image."""
    devices, rest = replicas(), images % batch_size
    if batch_size % devices or 0 < rest < devices:
        raise ValueError(
            f"`batch_size` must be a multiple of the {devices} devices, and leave an image for "
            f"each in the last batch. Received: {batch_size}, of {images} images."
        )


def _check_precision(model: keras.Model, mixed: bool) -> None:
    """Raise a ValueError unless a model and its layers compute in what a recipe says."""
    # Losses are scaled by the policy of the model; what is computed in is that of its layers.
    dtypes = {model.compute_dtype, *(layer.compute_dtype for layer in model.layers)}
    if not mixed == ("float16" in dtypes) == (model.compute_dtype == "float16"):
        raise ValueError(
            f"`recipe.mixed_precision` is {mixed}, but the model computes in "
            f"{model.compute_dtype} and its layers in {', '.join(sorted(dtypes))}. Build it, and a "
            "Classifier below it with `dtype`, in 'mixed_float16' or 'float32'."
        )


def _check_images(model: keras.Model, crop: int) -> None:
    """Raise a ValueError unless a model takes squares of RGB of this side."""
    expect_rgb("model", model)
    height, width = model.inputs[0].shape[1:3]
    if None not in (height, width) and height != width:
        raise ValueError(
            "`model` must take square images, as training crops squares. Received: the model "
            f"takes images of {pixels((height, width))} pixels. Build it with an input of (None, "
            "None, 3)."
        )
    side = height or width or crop
    if side != crop:
        raise SettingError(
            f"`crop` must be {side}, and `resize` no smaller: the model takes images of "
            f"{pixels((side, side))} pixels. Received: {crop}.",
            f"crop={side}",
        )


def _validate(
    model: keras.Model,
    maps_and_logits: MapsAndLogits,
    splits: Splits,
    recipe: Recipe,
    known: bool,
) -> Callable[[], dict[str, float]]:
    """Return what scores the model after each epoch, or refuse a split that cannot select."""
    train, validation = splits

    def checked(images: Any, labels: Any = None) -> Any:
        found = maps_and_logits(images, labels)
        # The last step of an epoch has no loss behind it that would show what it did.
        if not all(np.isfinite(np.asarray(values)).all() for values in found):
            raise TrainingDivergedError(
                f"The maps contain NaN or infinity after step {int(model.optimizer.iterations)}. "
                f"{TrainingDivergedError.ADVICE}"
            )
        return found

    if validation is None:
        first = train.subset([0])
        with naming_photos(first):
            probe, _ = next(iter(evaluation_dataset(first, size=recipe.crop)))
        return lambda: checked(probe) and {}
    scorer = Validation(validation, recipe.crop)
    if recipe.select == "accuracy" and not known:
        raise ValueError(
            f"`select` is 'accuracy', and the {_num_classes(model)} classes of the model are not "
            f"the {len(validation.class_names)} of the data: {listed(validation.class_names, 3)}. "
            "Train a model of these classes, or give no validation split to keep the last epoch."
        )
    if recipe.select not in scorer.scores:
        *_, usual = [name for name in scorer.scores if name != "accuracy"] or ["accuracy"]
        raise SettingError(
            f"`select` is {recipe.select!r}, for which the split {validation.name!r} has no ground "
            f"truth; it allows {', '.join(scorer.scores)}. Set `select` of the recipe to one of "
            "them, or train without that split to keep the last epoch.",
            f"select={usual}",
        )
    return lambda: scorer(checked, known)


@contextlib.contextmanager
def _telling_divergence(model: keras.Model, run: RunFolder) -> Iterator[None]:
    """Say of a training that diverges what is kept of it."""
    try:
        yield
    except (TrainingDivergedError, tf.errors.InvalidArgumentError) as error:
        if isinstance(error, tf.errors.OpError):
            # The CRF operation refuses NaN before any loss shows it.
            if "NaN" not in error.message or "the image contains" in error.message:
                raise
            step = int(model.optimizer.iterations) + 1
            error = f"The maps contain NaN at step {step}. {TrainingDivergedError.ADVICE}"
        raise TrainingDivergedError(
            f"{error} {run.folder} keeps epoch {run.state.epoch} and the best model so far."
        ) from None

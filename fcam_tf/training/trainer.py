"""Training both stages: thin layers over ``compile`` and ``fit``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from fcam_tf import cams
from fcam_tf.baselines import Baseline
from fcam_tf.data import Split, evaluation_dataset, naming_photos, training_dataset
from fcam_tf.graphs import graph
from fcam_tf.graphs.replicas import replicas
from fcam_tf.identity import model_sha256, split_sha256
from fcam_tf.losses import FCAMLoss
from fcam_tf.models import FCAM, Classifier, backbones
from fcam_tf.names import listed
from fcam_tf.optimizer import CoupledAdam, CoupledSGD
from fcam_tf.training.callbacks import KeepBest, StopOnNaN, TrainingDivergedError
from fcam_tf.training.cam_store import stored_cams
from fcam_tf.training.checks import check_batches, check_labels, check_maps, check_precision
from fcam_tf.training.convergence import draw_convergence
from fcam_tf.training.recipe import ClassifierRecipe, FCAMRecipe, Recipe
from fcam_tf.training.run_folder import PLOT, RunFolder, open_run
from fcam_tf.training.tensorboard import tensorboard
from fcam_tf.training.validation import MapsAndLogits, Validation

Splits = tuple[Split, Split | None]


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
        about: what else the run depends on, as JSON values; a run of other ones is refused. So is
            one of other layers; the weights that the classifier comes with are not compared, as
            those of a new head are others at each start.
        asked: what `recall_run` will know the finished run by, as JSON values.
        callbacks: further callbacks of ``fit``.
        verbose: as of ``fit``.

    Returns:
        The run; ``run.best`` is the file of the chosen model.

    Raises:
        TypeError: ``classifier`` is an F-CAM.
        ValueError: labels that are no classes of the model, a split without what ``recipe.select``
            needs, another precision than the recipe's, or batches that cannot be shared by all
            devices.
        SettingsChangedError: ``out`` holds another run.
        FolderBusyError: another process is training in ``out``.
        TrainingDivergedError: a loss was NaN or infinite.
    """
    if isinstance(classifier, FCAM):
        raise TypeError(
            "`classifier` must be a classifier. Received an F-CAM: give its .classifier."
        )
    check_labels(train, classifier.output_shape[-1])
    if isinstance(classifier, Classifier):
        classifier.unfreeze()
        classifier.input_size = recipe.crop
        if recipe.train == "head":
            classifier.freeze(head=False)
        fast = backbones.get(classifier.backbone).fast_learners
    else:
        fast = ()
    flat = graph.flatten(classifier)
    head = next(layer for layer in reversed(flat.layers) if layer.weights)
    multipliers = dict.fromkeys((*fast, f"{head.name}/"), recipe.head_ratio)
    classifier.compile(
        optimizer=_optimizer(recipe, {} if recipe.train == "head" else multipliers),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=not cams.gives_probabilities(flat)
        ),
        metrics=["accuracy"],
    )
    cam = cams.get(method, classifier)
    about = {"method": method, "layer": ",".join(cam.layers), **(about or {})}
    settings = {"stage": "classifier", **about}
    baseline = getattr(classifier, "baseline", Baseline())
    if baseline.name:
        settings["baseline"] = {"name": baseline.name, **dataclasses.asdict(baseline)}
    with _opened(classifier, (train, validation), recipe, out, settings, asked=asked) as run:
        return _fit(
            classifier,
            cam.maps_and_logits,
            (train, validation),
            run,
            recipe,
            augment=baseline.augment if baseline.augments else None,
            callbacks=callbacks,
            verbose=verbose,
        )


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
            model's classes are not those of the split, or a label
            is -1, the map of the predicted class teaches.
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
        ValueError: see `fit_classifier`.
    """
    model.freeze()
    if recipe.train == "all":
        model.unfreeze()
    model.input_size = model.inputs[0].shape[1] or recipe.crop
    model.compile(optimizer=_optimizer(recipe, {}), loss=FCAMLoss(**recipe.loss))
    if knows_classes(model, train):
        check_labels(train, model.num_classes, lowest=-1)
    else:
        train = dataclasses.replace(train, labels=np.full(len(train), -1))
    about = {
        "classifier": model_sha256(model.classifier),
        "method": model.method,
        "layer": ",".join(model.teacher.layers),
    }
    settings = {"stage": "fcam", **about, "decoder_filters": model.decoder_filters}
    with _opened(model, (train, validation), recipe, out, settings, asked=asked) as run:
        stored = None
        if recipe.cams == "stored" and not run.finished:
            folder = run.folder / "cams" if cache is None else cache
            stored = stored_cams(
                model.teacher, train, folder, about, size=recipe.crop, verbose=verbose
            )
        return _fit(
            model,
            model.maps_and_logits,
            (train, validation),
            run,
            recipe,
            stored=stored,
            with_masks=recipe.loss.get("masks", 0) > 0,
            callbacks=callbacks,
            verbose=verbose,
        )


def knows_classes(model: keras.Model, split: Split) -> bool:
    """Tell whether the classes of a model are those of a split, see `Split.has_classes`."""
    return split.has_classes(_num_classes(model), getattr(model, "class_names", None))


def _num_classes(model: keras.Model) -> int:
    return getattr(model, "num_classes", None) or model.output_shape[-1]


def _optimizer(recipe: Recipe, multipliers: dict[str, float]) -> keras.optimizers.Optimizer:
    kind = {"sgd": CoupledSGD, "adam": CoupledAdam}[recipe.optimizer]
    return kind(
        recipe.learning_rate,
        recipe.momentum,
        l2=recipe.weight_decay,
        multipliers=multipliers,
        global_clipnorm=recipe.clip_norm or None,
    )


def _opened(
    model: keras.Model,
    splits: Splits,
    recipe: Recipe,
    out: str | Path,
    settings: dict[str, Any],
    *,
    asked: Mapping[str, Any] | None,
) -> contextlib.AbstractContextManager[RunFolder]:
    check_precision(model, recipe.mixed_precision)
    settings |= {"recipe": dataclasses.asdict(recipe), "layers": model_sha256(model, weights=False)}
    settings["replicas"] = replicas()  # each normalises its part of a batch by itself
    for name, split in zip(("train", "validation"), splits, strict=True):
        settings[name] = split and {
            "name": split.name,
            "images": len(split),
            "sha256": split_sha256(split, sizes=True),
        }
    return open_run(out, settings, recipe.epochs, asked)


@naming_photos()
def _fit(
    model: keras.Model,
    maps_and_logits: MapsAndLogits,
    splits: Splits,
    run: RunFolder,
    recipe: Recipe,
    *,
    stored: ArrayLike | None = None,
    with_masks: bool = False,
    augment: Callable | None = None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: Any,
) -> RunFolder:
    train, validation = splits
    known = knows_classes(model, train)
    validate = _validate(model, maps_and_logits, splits, recipe, known)
    check_batches(len(train), recipe.batch_size)
    run.restore(model)
    plot = run.folder / PLOT
    if run.finished and plot.exists():
        return run
    if not run.finished:  # else killed between the last epoch and its plot
        dataset = training_dataset(
            train,
            batch_size=recipe.batch_size,
            resize=recipe.resize,
            crop=recipe.crop,
            flip=recipe.flip,
            cams=stored,
            with_masks=with_masks,
            augment=augment,
            seed=recipe.seed,
            first_epoch=run.state.epoch,
        )

        def set_rate(epoch: int, _: Any) -> None:
            model.optimizer.learning_rate = recipe.learning_rate_at(epoch + 1)

        with _telling_divergence(model, run):
            model.fit(
                dataset,
                initial_epoch=run.state.epoch,
                epochs=recipe.epochs,
                steps_per_epoch=-(-len(train) // recipe.batch_size),
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=set_rate),
                    StopOnNaN(),
                    KeepBest(run, validate, recipe.select),
                    *tensorboard(maps_and_logits, validation, run.folder, recipe.crop, known),
                    *callbacks,
                ],
                shuffle=False,  # the data set does
                verbose=verbose,
            )
    draw_convergence(run.state.history, run.state.best, plot)
    return run


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
        check_maps(found, model.optimizer.iterations)
        return found

    if validation is None:
        probe, _ = next(iter(evaluation_dataset(train.subset([0]), size=recipe.crop)))
        return lambda: checked(probe) and {}
    scorer = Validation(validation, recipe.crop)
    if recipe.select == "accuracy" and not known:
        raise ValueError(
            f"`select` is 'accuracy', and the {_num_classes(model)} classes of the model are not "
            f"the {len(validation.class_names)} of the data: {listed(validation.class_names, 3)}. "
            "Train a model of these classes, or give no validation split to keep the last epoch."
        )
    if recipe.select not in scorer.scores:
        raise ValueError(
            f"`select` is {recipe.select!r}, for which the split {validation.name!r} has no ground "
            f"truth; it allows {', '.join(scorer.scores)}. Choose one of them, or give no "
            "validation split to keep the last epoch."
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
            if "NaN" not in error.message or "the image holds" in error.message:
                raise
            step = int(model.optimizer.iterations) + 1
            error = f"The maps contain NaN at step {step}. {TrainingDivergedError.ADVICE}"
        raise TrainingDivergedError(
            f"{error} {run.folder} keeps epoch {run.state.epoch} and the best model so far."
        ) from None

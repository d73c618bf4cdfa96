"""``fcam train``: a classifier, then the decoder of its full-resolution map."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.model import check_model, load_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import absolute, console, failed, require, usage_errors

if TYPE_CHECKING:
    import keras
    from rich.console import Console
    from rich.table import Table

    from fcam_tf.data import Split
    from fcam_tf.training import Recipe, RunFolder

STAGES = ("classifier", "fcam", "fsl")
_BACKBONE = "efficientnetlite_b0"
_UNLEARNT = 0.6  # of the seed loss, which is ln 2 for a map that is 0.5 everywhere

_DETAILS = """\
Two stages. The first trains a classifier on images and their labels; no boxes, no masks. The second
freezes it and trains a decoder behind it, whose map has the resolution of the image. What teaches
the decoder are a few pixels of the classifier's own coarse map (--method), the colours of the
image, and that neither object nor background may vanish.

The stage fsl is what both are compared with: few-shot full supervision. The decoder learns from the
masks of the val split, or its filled boxes; four fifths of it train, one fifth chooses the epoch.

DATA is a folder in the benchmark's layout or of class folders, tfds:NAME, or shapes (generated).
Boxes and masks of its val split, where it has them, choose the best epoch; they never train.

OUT gets run.json (recipe, versions), metrics.csv, convergence.png, best.keras, logs for
TensorBoard where it is installed, and test/ with the report of fcam evaluate where there is a test
split with boxes or masks. A run that was stopped goes on where it was when the same command is
given again.

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam train classifier --data shapes --recipe small --out runs/shapes
  fcam train fcam --data shapes --model runs/shapes --recipe small --set loss.crf=4e-9 \\
      --out runs/shapes-fcam
  fcam train classifier --data data/CUB --model resnet50 --out runs/cub
  fcam train fcam --data data/CUB --model runs/cub --method layercam --out runs/cub-fcam \\
      --set loss.negative_share=0.3
  fcam train classifier --data data/CUB --model resnet50 --method adl --out runs/cub-adl \\
      --set baseline.drop_rate=0.6
  fcam train fsl --data data/CUB --model resnet50 --set decoder=linear --out runs/cub-fsl"""


def _define(values: flags.FlagValues) -> None:
    define_training(values)
    flags.DEFINE_enum(
        "strategy",
        "single",
        ("single", "mirrored"),
        "mirrored: share each batch among all GPUs",
        flag_values=values,
    )


def define_training(values: flags.FlagValues) -> None:
    """Define the flags that say what is trained, on what, by which recipe and where to."""
    flags.DEFINE_string("data", None, "`DATA` to train on", flag_values=values)
    flags.DEFINE_string(
        "model",
        None,
        "`MODEL`: a run folder, a model saved as .keras, or for a classifier the name of a "
        "backbone (default there: efficientnetlite_b0)",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "output_stride",
        None,
        ("8", "16", "32"),
        "pixels for one cell of the coarse map, of a backbone given by name",
        flag_values=values,
    )
    flags.DEFINE_string(
        "weights",
        "imagenet",
        "`imagenet|none|FILE` to start a backbone given by name from",
        flag_values=values,
    )
    flags.DEFINE_string(
        "method",
        None,
        "`METHOD` whose maps are scored, and teach the decoder; has, cutmix, adl, acol, spg and "
        "icl also change how a classifier trains (default: cam, or what MODEL was trained with)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "recipe", "cub", "`NAME|FILE.json` of the numbers to train with", flag_values=values
    )
    flags.DEFINE_multi_string(
        "set", [], "`KEY=VALUE` to change in the recipe; may be repeated", flag_values=values
    )
    flags.DEFINE_string(
        "cams",
        None,
        "`FOLDER` of stored maps, to be shared by runs (default: in the run)",
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "`FOLDER` to write to", flag_values=values)


def check_stage(values: flags.FlagValues, arguments: list[str]) -> str:
    """Return which stage is asked for, and refuse flags that do not do for it."""
    if len(arguments) != 1 or arguments[0] not in STAGES:
        raise app.UsageError(f"name one stage to train: {', '.join(STAGES)}")
    stage = arguments[0]
    require(values, "data", "out")
    if stage == "fcam":
        require(values, "model")
        check_model(values.model)
    return stage


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    stage = check_stage(values, arguments)
    notes = console(stderr=True)
    with quiet_tensorflow():
        from fcam_tf import training  # noqa: PLC0415
    with usage_errors(ValueError, FileNotFoundError, prefix=""):
        recipe = recipe_of(stage, values)
        splits = load_splits(stage, values.data, recipe.select, notes)
    try:
        with usage_errors(ValueError, FileNotFoundError, prefix=""), _strategy(values.strategy):
            run = train(stage, values, recipe, splits, values.out)
    except (OSError, training.TrainingDivergedError) as error:
        return failed(notes, error)
    from rich.console import Console  # noqa: PLC0415

    Console().print(_table(run))
    notes.print(f"model in {run.best}, curves in {run.folder / 'convergence.png'}")
    if run.state.best == 0:
        # Boxes in the middle of the photo are hard to beat for a network that is still learning.
        remedy = "--set select=accuracy" if stage == "classifier" else "another --set learning_rate"
        notes.print(
            f"fcam: {recipe.select} never rose above what it was before training, and that is the "
            f"model which was kept; try more epochs or {remedy}"
        )
    seeds = run.state.history[-1].get("seeds_loss", 0.0)
    if seeds > _UNLEARNT:
        adam = "" if recipe.optimizer == "adam" else "--set optimizer=adam, "
        notes.print(
            f"fcam: the seed loss ended at {seeds:.2f}, guessing has 0.69: the maps say little. "
            f"Try {adam}a lower --set loss.crf or more epochs"
        )
    if stage == "classifier":
        out, preset = values.out, values.recipe
        chosen = f"--recipe {preset} " if preset in training.FCAM_PRESETS else ""
        notes.print(
            f"next: fcam train fcam --data {values.data} --model {out} {chosen}--out {out}-fcam"
        )
    try:
        _report(run, values, notes)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        notes.print(f"fcam: the model is there, but not its report: {error}")
        return 1
    return 0


def recipe_of(stage: str, values: flags.FlagValues) -> Recipe:
    """Return the recipe that the flags name."""
    from fcam_tf import training  # noqa: PLC0415

    recipe = training.get(stage, values.recipe).changed(values.set)
    if stage == "fsl" and not recipe.loss.get("masks"):
        raise ValueError(
            "`loss.masks` must be above 0: it is the masks that teach in the stage fsl. Received: "
            f"--recipe {values.recipe} with loss={recipe.loss}."
        )
    return recipe


def load_splits(stage: str, name: str, select: str, notes: Console) -> tuple[Split, Split | None]:
    """Load what trains, and what chooses the best epoch where there is truth for it."""
    from fcam_tf import data, training  # noqa: PLC0415

    if stage == "fsl":
        return training.divide(data.load(name, "val"))
    images = data.load(name, "train")
    try:
        validation = data.load(name, "val")
    except FileNotFoundError:
        validation = None
    if validation is None or (
        validation.boxes is None and validation.masks is None and select != "accuracy"
    ):
        notes.print("fcam: no boxes or masks for val: the last epoch will be kept, not the best")
        validation = None
    return images, validation


def train(
    stage: str,
    values: flags.FlagValues,
    recipe: Recipe,
    splits: tuple[Split, Split | None],
    out: str | Path,
) -> RunFolder:
    """Train one stage, as the flags of `define_training` say, by a recipe into a folder."""
    import keras  # noqa: PLC0415

    from fcam_tf import models, training  # noqa: PLC0415

    keras.utils.set_random_seed(recipe.seed)
    if recipe.mixed_precision:
        keras.config.set_dtype_policy("mixed_float16")
    if stage == "classifier":
        model = _classifier(values, recipe.baseline, splits[0])
        return training.fit_classifier(
            model, *splits, recipe, out, method=_method(values, model), about=_start(values)
        )
    if stage == "fsl" and values.model in (None, *models.BACKBONES):
        classifier = _classifier(values, {}, splits[0])
    else:
        given = load_model(values.model)
        classifier = given.classifier if isinstance(given, models.FCAM) else given
        wanted = "mixed_float16" if recipe.mixed_precision else "float32"
        if isinstance(classifier, models.Classifier) and classifier.dtype_policy.name != wanted:
            classifier = classifier.copy(wanted)
    model = models.FCAM.from_classifier(
        classifier,
        method=_method(values, classifier),
        decoder_filters=recipe.filters,
        seed=recipe.seed,
    )
    return training.fit_fcam(model, *splits, recipe, out, cache=values.cams)


def _start(values: flags.FlagValues) -> dict[str, Any]:
    """Return what a classifier's training starts from, but for the data and the recipe."""
    return {"output_stride": values.output_stride, "weights": values.weights}


def _method(values: flags.FlagValues, classifier: keras.Model) -> str:
    """Return the method that is asked for, or that the classifier was built for."""
    baseline = getattr(classifier, "baseline", None)
    return values.method or (baseline and baseline.name) or "cam"


def _classifier(values: flags.FlagValues, options: Mapping[str, Any], train: Split) -> keras.Model:
    from fcam_tf import baselines, models  # noqa: PLC0415

    name = values.model or _BACKBONE
    baseline = values.method if values.method in baselines.METHODS else None
    if name not in models.BACKBONES and (name.endswith(".keras") or Path(name).is_dir()):
        model = models.load(name)
        built = getattr(model, "baseline", baselines.Baseline())
        if (baseline or options) and built != baselines.get(baseline or built.name, **options):
            raise ValueError(
                f"--method {values.method} with settings {dict(options)} needs a classifier that "
                f"is built so, and {name} is built for {built}. Name a backbone, or leave "
                "--method and the settings of `baseline` out."
            )
        return model
    if options and not baseline:
        raise ValueError(
            f"`baseline` holds settings of a method that changes how a classifier is trained, and "
            f"--method is {values.method or 'cam'}. There is {', '.join(baselines.METHODS)}."
        )
    stride = values.output_stride
    return models.Classifier(
        name,
        len(train.class_names),
        output_stride=int(stride) if stride else None,
        weights=None if values.weights == "none" else values.weights,
        class_names=train.class_names,
        baseline=baseline,
        options=options,
    )


def _strategy(name: str) -> contextlib.AbstractContextManager:
    if name == "single":
        return contextlib.nullcontext()
    import tensorflow as tf  # noqa: PLC0415

    return tf.distribute.MirroredStrategy().scope()


def _table(run: RunFolder) -> Table:
    from rich.table import Table  # noqa: PLC0415

    from fcam_tf.training.callbacks import VALIDATION_PREFIX  # noqa: PLC0415

    history = run.state.history
    chosen = history[run.state.best]
    table = Table(title=f"{len(history) - 1} epochs, val, %")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column(f"chosen: epoch {chosen['epoch']:.0f}", justify="right")
    for name in chosen:
        if name.startswith(VALIDATION_PREFIX):
            label = name.removeprefix(VALIDATION_PREFIX)
            table.add_row(label, f"{history[0][name]:.2f}", f"{chosen[name]:.2f}")
    return table


def _report(run: RunFolder, values: flags.FlagValues, notes: Console) -> None:
    """Evaluate the chosen model on the test split, where there is truth, as fcam evaluate does."""
    from fcam_tf import data, evaluation, models, report, training  # noqa: PLC0415
    from fcam_tf.predict import SettingsChangedError  # noqa: PLC0415
    from fcam_tf.predict.localizer import OWN  # noqa: PLC0415

    try:
        split = data.load(values.data, "test")
    except FileNotFoundError:
        return
    if split.boxes is None and split.masks is None:
        return
    model = models.load(run.best)
    method = OWN if isinstance(model, models.FCAM) else _method(values, model)
    source = evaluation.ModelMaps(model, method)
    settings = evaluation.Settings(
        method=method,
        layer=source.layer,
        data=absolute(values.data),
        split="test",
        model=str(run.folder.resolve()),
        model_sha256=training.fingerprint(model),
        labels="truth" if training.knows_classes(model, split) else "predicted",
    )
    try:
        job = evaluation.Evaluation(source, settings, run.folder / "test")
    except SettingsChangedError:  # the test split is another now
        job = evaluation.Evaluation(source, settings, run.folder / "test", overwrite=True)
    notes.print(f"report on the test split in {report.write_report(job.run(console=notes))}")


COMMAND = Command(
    usage="classifier|fcam|fsl --data DATA --out RUN [--model M] [flags]",
    summary="train a classifier, or the decoder that gives its maps full resolution",
    details=_DETAILS,
    define=_define,
    run=_run,
)

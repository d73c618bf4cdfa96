"""``fcam zoo``: what models there are, what they are, and making one more."""

from __future__ import annotations

import dataclasses
import functools
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console, failed, require, telling, usage_errors
from fcam_tf.commands.train import define_start, report, start_of
from fcam_tf.names import FSL

if TYPE_CHECKING:
    from rich.console import Console

    from fcam_tf.models import FCAM
    from fcam_tf.zoo.cards import Card

ACTIONS = ("list", "show", "verify", "make")
_SAID = ("output_stride", "licence", "classifier_set", "set")  # on a card in the user's words

_DETAILS = """\
  fcam zoo list [PATTERN]       names and figures of all trained models; in a pipe, a line for each
  fcam zoo show NAME            the card: architecture, training, scores, licence, weights
  fcam zoo verify [NAME...]     hash, rebuild and stored answer of models (default: all);
                                with --data also the scores that were measured on that data set
  fcam zoo make NAME            train a classifier and its decoder as fcam train does, into RUNS,
                                or take --run; choose the threshold by the boxes of val, if any,
                                measure on test, write the entry. NAME is <backbone>_<method>,
                                perhaps with .<data set>. The same command goes on after a stop

Models come with the package, from the folder or address that the environment variable FCAM_ZOO
names, or from the addresses in their cards (gs:// and s3:// need pip install 'fcam_tf[gcs]' or
'fcam_tf[s3]'). In Python: fcam_tf.zoo.load(NAME).

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam zoo list 'efficientnetlite_b0_*'
  fcam zoo verify --data data/pets3
  fcam zoo make resnet50_layercam.cub --data data/CUB --recipe cub --licence CC-BY-4.0
  fcam zoo make resnet50_cam.cub --run runs/cub-fcam --data data/CUB --licence CC-BY-4.0"""


def _define(values: flags.FlagValues) -> None:
    define_start(values)
    flags.DEFINE_multi_string(
        "classifier_set",
        [],
        "make: `KEY=VALUE` of the classifier's recipe, as --set of the decoder's; may be repeated",
        flag_values=values,
    )
    flags.DEFINE_string(
        "run",
        None,
        "make: `RUN|FILE.keras`, a finished F-CAM to pack instead of training one; --recipe is "
        "then a file of how it was trained, for the card (default: the run's own)",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "test",
        [],
        "make: `DATA` to measure on; may be repeated (default: --data)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "trained_on",
        None,
        "make: what it was trained on, in a `SENTENCE` (default: --data)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "command",
        None,
        "make: the `LINE` that trained it, for the card (default: this one)",
        flag_values=values,
    )
    flags.DEFINE_string("licence", None, "make: `LICENCE` of the weights", flag_values=values)
    flags.DEFINE_string(
        "out", None, "make: `FOLDER` of the zoo (default: $FCAM_ZOO, or zoo)", flag_values=values
    )
    flags.DEFINE_string("runs", "runs", "make: `FOLDER` of the training runs", flag_values=values)
    flags.DEFINE_boolean("int8", False, "make: large kernels in 8 bits", flag_values=values)
    flags.DEFINE_boolean(
        "replace", False, "make: replace the entry of that name once it is made", flag_values=values
    )


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ACTIONS:
        raise app.UsageError(f"say what to do: {', '.join(ACTIONS)}")
    action, *names = arguments
    notes = console(stderr=True)
    if action == "list":
        return _list(names, notes)
    if action == "show":
        return _show(names)
    if action == "verify":
        return _verify(names, values.data, notes)
    return _make(values, names, notes)


def _list(patterns: list[str], notes: Console) -> int:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from fcam_tf import zoo  # noqa: PLC0415

    found = {name for pattern in patterns or ["*"] for name in zoo.list_models(pattern)}
    if not found:
        notes.print(f"fcam: no trained model is called like {' or '.join(patterns)}")
        return 1
    status, answers = 0, Console(markup=False, emoji=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("name", min_width=max(map(len, found)))  # whole, however narrow the terminal
    table.add_column("classes", justify="right")
    table.add_column("scores, %")
    for name in sorted(found):
        try:
            card = zoo.card(name)
        except (OSError, ValueError) as error:
            notes.print(f"fcam: {name}: {error}")
            status = 1
            continue
        scores = [
            f"{s['data']} {s['split']} {s['metric']} {s['value']:.1f}" for s in card["scores"]
        ]
        classes = str(card["architecture"]["num_classes"])
        if answers.is_terminal:
            table.add_row(name, classes, "\n".join(scores))
        else:
            fields = (name, f"{classes} classes", ", ".join(scores), card["trained_on"])
            sys.stdout.write("\t".join(fields) + "\n")  # rich would expand the tabs
    if answers.is_terminal:
        answers.print(table)
    return status


def _show(names: list[str]) -> int:
    if not names:
        raise app.UsageError("name a model; fcam zoo list shows them")
    from rich.console import Console  # noqa: PLC0415

    from fcam_tf import zoo  # noqa: PLC0415

    with usage_errors(ValueError, OSError, prefix=""), quiet_tensorflow():  # of an untrained one
        cards = [zoo.card(name) for name in names]
    for card in cards:
        Console().print_json(json.dumps(_short(card)))
    return 0


def _short(card: Card) -> Card:
    """Leave out of a card what nobody reads."""
    names = card["architecture"]["class_names"]
    if isinstance(names, list) and len(names) > 20:
        names = [*names[:3], f"... {len(names)} in all"]
    return {
        **{key: value for key, value in card.items() if key != "check"},
        "architecture": {**card["architecture"], "class_names": names},
    }


def _verify(names: list[str], data: str | None, notes: Console) -> int:
    from fcam_tf import zoo  # noqa: PLC0415
    from fcam_tf.zoo.entries import folder_of  # noqa: PLC0415

    with usage_errors(ValueError, prefix=""):
        for name in names:
            folder_of(name)
    with quiet_tensorflow():
        from fcam_tf.zoo.cards import data_name  # noqa: PLC0415
        from fcam_tf.zoo.pack import verify_scores  # noqa: PLC0415
        from fcam_tf.zoo.registry import load, verify  # noqa: PLC0415
    status, answers = 0, console()
    for name in names or zoo.list_models():
        try:
            card = zoo.card(name)
            model = load(name)
            verify(card, model)
            scores = verify_scores(card, model, data) if data else []
        except (OSError, ValueError) as error:
            notes.print(f"fcam: {name}: {error}")
            status = 1
            continue
        answers.print(f"{name}: as its card says")
        if data and not scores:
            answers.print(f"  no score on {data_name(data)}")
        for score in scores:
            where = f"{score['data']} {score['split']} {score['metric']}"
            answers.print(f"  {where}: {score['found']:.2f}, the card says {score['value']:.2f}")
            status = status if abs(score["found"] - score["value"]) <= 0.5 else 1
    return status


def _make(values: flags.FlagValues, names: list[str], notes: Console) -> int:
    if len(names) != 1:
        raise app.UsageError("name one model to make")
    from fcam_tf.zoo.entries import parts_of  # noqa: PLC0415

    require(values, "data", "licence")
    (name,) = names
    with usage_errors(ValueError, prefix=""):
        parts = parts_of(name)
    with quiet_tensorflow():
        from fcam_tf import data, training  # noqa: PLC0415
        from fcam_tf.zoo.cards import data_name  # noqa: PLC0415
        from fcam_tf.zoo.entries import new_entry  # noqa: PLC0415
        from fcam_tf.zoo.pack import pack  # noqa: PLC0415

    try:
        with usage_errors(ValueError, FileExistsError, FileNotFoundError, prefix=""):
            new_entry(name, values.out, replace=values.replace)  # before hours of training
            roots = values.test or [values.data]
            tests = {data_name(root): data.load(root, "test") for root in roots}
            val = data.load(values.data, "val")
            made = _given(values, *parts) if values.run else _trained(values, name, parts, notes)
        model, recipe, images = made
        folder = pack(
            model,
            name,
            values.out,
            val=val,
            tests=tests,
            command=values.command or _command(values, name),
            int8=values.int8,
            replace=values.replace,
            trained_on=values.trained_on or f"{data_name(values.data)}, {images} images",
            licence=values.licence,
            recipe=recipe,
        )
    except (OSError, RuntimeError, ValueError, TypeError, training.TrainingDivergedError) as error:
        return failed(notes, error)
    notes.print(f"{name} in {folder}")
    return 0


def _trained(
    values: flags.FlagValues, name: str, parts: tuple[str, str], notes: Console
) -> tuple[FCAM, dict[str, Any], int]:
    """Train a classifier and its decoder; return that, its recipe, and on how many images."""
    from fcam_tf import models, training  # noqa: PLC0415

    backbone, method = parts
    own = None if method == FSL else method
    last = "fsl" if method == FSL else "fcam"
    recipes = {
        "classifier": training.recipe_of("classifier", values.recipe, values.classifier_set),
        last: training.recipe_of(last, values.recipe, values.set),
    }
    if method == FSL and recipes[last].train == "all":
        del recipes["classifier"]  # it trains along
    loaded = {
        stage: training.load_splits(
            stage, values.data, recipe, telling(notes), skip_broken=values.skip_broken
        )
        for stage, recipe in recipes.items()
    }
    start = start_of(values, backbone, own)
    for stage, (splits, recipe) in loaded.items():
        out = Path(values.runs, name if stage == last else f"{name}-classifier")
        run = training.train(stage, start, recipe, splits, out)
        report(run, values.data, notes)
        start = dataclasses.replace(start, model=functools.partial(models.load, run.best))
    return models.load(run.best), dataclasses.asdict(recipe), len(splits[0])


def _given(
    values: flags.FlagValues, backbone: str, method: str
) -> tuple[FCAM, dict[str, Any] | None, int | None]:
    """Load a finished run or a .keras file; return what `_trained` does, as far as it is known."""
    from fcam_tf import models  # noqa: PLC0415

    file = models.saved_file(values.run)
    about = file.with_name("run.json")
    settings = json.loads(about.read_text("utf-8"))["settings"] if about.is_file() else {}
    recipe = settings.get("recipe")
    if values["recipe"].present:
        recipe = json.loads(Path(values.recipe).read_text("utf-8"))
    if not settings and not values.trained_on:
        raise ValueError(f"--trained-on is missing, and {file} does not tell")
    model = models.load(file)
    found = getattr(getattr(model, "classifier", None), "backbone", None)
    if found != backbone or model.method != ("cam" if method == FSL else method):
        what = f"{found}_{model.method}" if found else "no F-CAM over a classifier of ours"
        raise ValueError(f"`run` must hold {backbone}_{method}. Received: {file}, {what}.")
    return model, recipe, settings.get("train", {}).get("images")


def _command(values: flags.FlagValues, name: str) -> str:
    """Return the line that makes an entry, without the folders of this machine."""
    from fcam_tf.zoo.cards import data_name  # noqa: PLC0415

    words = ["fcam", "zoo", "make", name]
    for flag in ("data", "test", "run", "recipe", "weights", *_SAID):
        given = values[flag].value
        for value in given if isinstance(given, list) else [given] * bool(values[flag].present):
            words += [f"--{flag}", value if flag in _SAID else data_name(value)]  # perhaps files
    return shlex.join(words + ["--int8"] * values.int8)


COMMAND = Command(
    usage="list|show|verify|make [NAME] [flags]",
    summary="the models that come along: list, show, verify, or make one",
    details=_DETAILS,
    define=_define,
    run=_run,
)

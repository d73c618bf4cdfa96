"""``fcam zoo``: what models there are, what they are, and making one more."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console, failed, require, usage_errors

if TYPE_CHECKING:
    from rich.console import Console

    from fcam_tf.zoo.cards import Card

ACTIONS = ("list", "show", "verify", "make")

_DETAILS = """\
  fcam zoo list [PATTERN]       names and figures of all trained models; in a pipe, a line for each
  fcam zoo show NAME            the card: architecture, training, scores, licence, weights
  fcam zoo verify [NAME...]     hash, rebuild and stored answer of models (default: all);
                                with --data also the scores that were measured on that data set
  fcam zoo make NAME            train a classifier and its decoder, choose the threshold by the
                                boxes of val, if any, measure on test, write the entry; NAME is
                                <backbone>_<method>, perhaps with .<data set>

Models come with the package, from the folder or address that the environment variable FCAM_ZOO
names, or from the addresses in their cards (gs:// and s3:// need pip install 'fcam_tf[gcs]' or
'fcam_tf[s3]'). In Python: fcam_tf.zoo.load(NAME).

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam zoo list 'efficientnetlite_b0_*'
  fcam zoo verify --data data/pets3
  fcam zoo make resnet50_layercam.cub --data data/CUB --recipe cub --licence CC-BY-4.0"""


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("data", None, "`DATA` to train or measure on", flag_values=values)
    flags.DEFINE_string(
        "recipe", "cub", "make: `NAME|FILE.json` of both stages", flag_values=values
    )
    flags.DEFINE_multi_string(
        "classifier_set",
        [],
        "make: `KEY=VALUE` of the classifier's recipe; may be repeated",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "set", [], "make: `KEY=VALUE` of the decoder's recipe; may be repeated", flag_values=values
    )
    flags.DEFINE_string("weights", "imagenet", "make: of the backbone", flag_values=values)
    flags.DEFINE_enum(
        "output_stride",
        None,
        ("8", "16", "32"),
        "make: pixels for one cell of the coarse map (default: the backbone's)",
        flag_values=values,
    )
    flags.DEFINE_string("licence", None, "make: `LICENCE` of the weights", flag_values=values)
    flags.DEFINE_string(
        "out", None, "make: `FOLDER` of the zoo (default: $FCAM_ZOO, or zoo)", flag_values=values
    )
    flags.DEFINE_string("runs", "runs", "make: `FOLDER` of the training runs", flag_values=values)
    flags.DEFINE_boolean("int8", False, "make: large kernels in 8 bits", flag_values=values)


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
        from fcam_tf.zoo.checks import verify, verify_scores  # noqa: PLC0415
        from fcam_tf.zoo.registry import load  # noqa: PLC0415
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
    from fcam_tf.zoo.rule import parts_of  # noqa: PLC0415

    require(values, "data", "licence")
    (name,) = names
    with usage_errors(ValueError, prefix=""):
        backbone, method = parts_of(name)
    with quiet_tensorflow():
        import keras  # noqa: PLC0415

        from fcam_tf import baselines, data, models, training  # noqa: PLC0415
        from fcam_tf.zoo.cards import data_name  # noqa: PLC0415
        from fcam_tf.zoo.entries import new_entry  # noqa: PLC0415
        from fcam_tf.zoo.registry import as_stored, save  # noqa: PLC0415
        from fcam_tf.zoo.threshold import best_threshold  # noqa: PLC0415

    with usage_errors(ValueError, FileExistsError, FileNotFoundError, prefix=""):
        new_entry(name, values.out)  # before hours of training, not after
        first = training.get("classifier", values.recipe).changed(values.classifier_set)
        second = training.get("fcam", values.recipe).changed(values.set)
        splits = {split: data.load(values.data, split) for split in ("train", "val", "test")}
    train = splits["train"]
    runs = Path(values.runs)
    try:
        keras.utils.set_random_seed(first.seed)
        weights = None if values.weights == "none" else values.weights
        classifier = models.Classifier(
            backbone,
            len(train.class_names),
            output_stride=int(values.output_stride) if values.output_stride else None,
            weights=weights,
            class_names=train.class_names,
            baseline=method if method in baselines.METHODS else None,
            options=first.baseline,
        )
        run = training.fit_classifier(
            classifier, train, splits["val"], first, runs / f"{name}-classifier", method=method
        )
        model = models.FCAM.from_classifier(
            models.load(run.best),
            method=method,
            decoder_filters=second.filters,
            seed=second.seed,
        )
        run = training.fit_fcam(model, train, splits["val"], second, runs / name)
        best = models.load(run.best)
        stored = as_stored(best, int8=values.int8)  # the card is about what will be loaded
        if splits["val"].boxes is not None:
            best.threshold = best_threshold(stored, splits["val"])
        found = training.Validation(splits["test"], stored.input_size)(stored.maps_and_logits)
        folder = save(
            best,
            name,
            values.out,
            trained_on=f"{data_name(values.data)}, {len(train)} images",
            licence=values.licence,
            recipe=dataclasses.asdict(second),
            scores=[
                {
                    "data": data_name(values.data),
                    "split": "test",
                    "metric": metric,
                    "value": value,
                    "command": _command(values, name),
                }
                for metric, value in found.items()
            ],
            int8=values.int8,
        )
    except (OSError, ValueError, training.TrainingDivergedError) as error:
        return failed(notes, error)
    notes.print(f"{name} in {folder}")
    return 0


def _command(values: flags.FlagValues, name: str) -> str:
    """Return the line that makes an entry, without the folders of this machine."""
    from fcam_tf.zoo.cards import data_name  # noqa: PLC0415

    words = ["fcam", "zoo", "make", name, "--data", data_name(values.data)]
    for flag in ("recipe", "weights"):  # perhaps files
        if values[flag].present:
            words += [f"--{flag}", Path(values[flag].value).name]
    for flag in ("output_stride", "licence", "classifier_set", "set"):
        if values[flag].present:
            given = values[flag].value
            for value in given if isinstance(given, list) else [given]:
                words += [f"--{flag}", value]
    return shlex.join(words + ["--int8"] * values.int8)


COMMAND = Command(
    usage="list|show|verify|make [NAME] [flags]",
    summary="the models that come along: list, show, verify, or make one",
    details=_DETAILS,
    define=_define,
    run=_run,
)

"""``fcam zoo``: what models there are, what they are, and making one more."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fcam_tf
from fcam_tf.claim import read_settings
from fcam_tf.commands.arguments import Parser, add_cams, add_import, add_training, flag_of, given
from fcam_tf.commands.model import complete_model
from fcam_tf.commands.quiet import load_tensorflow, quiet_tensorflow
from fcam_tf.commands.telling import answer, answer_table, failed, note, usage_errors, warn
from fcam_tf.commands.train import recipe_and_splits, report, start_of
from fcam_tf.names import FSL, printable, shortened

# Arguments that are on a card: names of files and folders alone, and in the user's words.
_FILES = ("data", "test", "run", "recipe", "weights")
_TRAINING = ("set", "classifier_set", "output_stride", "weights", "cams", "strategy", "skip_broken")
_WORDS = ("output_stride", "licence", "classifier_set", "set")

_DETAILS = """\
Models come with the package, from the folder or address that the environment variable FCAM_ZOO
names, or from the addresses in their cards (gs:// and s3:// need pip install 'fcam_tf[gcs]' or
'fcam_tf[s3]'). In Python: fcam_tf.zoo.load(NAME)."""
_EXAMPLES = """\
Examples:
  fcam zoo list 'efficientnetlite_b0_*'
  fcam zoo verify --data data/pets3
  fcam zoo make resnet50_layercam.cub --data data/CUB --recipe cub --licence CC-BY-4.0
  fcam zoo make resnet50_cam.cub --run runs/cub-fcam --data data/CUB --licence CC-BY-4.0"""
_MAKE = """\
Trains a classifier and its decoder as fcam train does, into RUNS, or takes --run; chooses the
threshold by the boxes of val, if any; measures on test; and writes the entry. The same command
resumes after a stop."""


def add_to(fcam: Parser) -> None:
    """Add ``fcam zoo``."""
    parser = fcam.command(
        "zoo",
        "list|show|verify|make [NAME] [flags]",
        "the trained models: list, show, verify, or make one",
        details=_DETAILS,
        examples=_EXAMPLES,
    )
    text = "names and scores of all trained models; in a pipe, one line for each"
    listing = parser.command("list", "[PATTERN...]", text, run=_list)
    listing.add("patterns PATTERN", "such as 'resnet50_*'", nargs="*", default=["*"])
    text = "the card: architecture, training, scores, licence, weights"
    show = parser.command("show", "NAME...", text, run=_show)
    show.add("names NAME", "models", nargs="+", completer=complete_model)
    text = "check the hash of models, rebuild them and compare their stored answer (default: all)"
    verify = parser.command("verify", "[NAME...] [--data DATA]", text, run=_verify)
    verify.add("names NAME", "models", nargs="*", completer=complete_model)
    verify.add("-d --data DATA", "check the scores that were measured on it, too")
    text = "train a classifier and its decoder, or take a finished run, and write the entry"
    usage = "NAME --data DATA --licence LICENCE [flags]"
    _add_make(parser.command("make", usage, text, details=_MAKE, run=_make))


def _add_make(parser: Parser) -> None:
    parser.add("name NAME", "<backbone>_<method>, optionally followed by .<data set>")
    add_training(parser)
    add_cams(parser)
    add_import(parser)
    text = "change a setting of the classifier's recipe, as --set does for the decoder's"
    parser.add("--classifier-set KEY=VALUE...", text)
    parser.add(
        "--run RUN|FILE.keras",
        "pack this finished F-CAM instead of training one; --recipe is then a file with the recipe "
        "that trained it, for the card (default: the run's own)",
    )
    parser.add("--test DATA...", "data set to measure on (default: --data)")
    text = "what it was trained on, for the card (default: --data)"
    parser.add("--trained-on SENTENCE", text)
    parser.add("--command LINE", "command that trained it, for the card (default: this one)")
    parser.add("--licence LICENCE", "licence of the weights", required=True)
    parser.add("-o --out FOLDER", "folder of the zoo (default: $FCAM_ZOO, or zoo)")
    parser.add("--runs FOLDER", "folder of the training runs", default="runs")
    parser.add("--int8", "store large kernels in 8 bits")
    parser.add("--replace", "replace the entry of that name once the new one is made")


@contextlib.contextmanager
def _warned(name: str, failures: list[str]) -> Iterator[None]:
    """Tell of an entry that is broken, note its name, and go on."""
    try:
        yield
    except (OSError, ValueError) as error:
        warn(f"{name}: {error}")
        failures.append(name)


def _list(values: argparse.Namespace) -> int:
    found = {name for pattern in values.patterns for name in fcam_tf.zoo.list_models(pattern)}
    if not found:
        patterns = printable(" or ".join(values.patterns))
        warn(f"no trained model matches {shortened(patterns)}")
        return 1
    rows: list[tuple[str, int, list[str], str]] = []
    failures: list[str] = []
    for name in sorted(found):
        with _warned(name, failures):
            card = fcam_tf.zoo.card(name)
            scores = [
                f"{s['data']} {s['split']} {s['metric']} {s['value']:.1f}" for s in card["scores"]
            ]
            rows.append((name, card["architecture"]["num_classes"], scores, card["trained_on"]))
    if sys.stdout.isatty():
        cells = [(name, classes, "\n".join(scores)) for name, classes, scores, _ in rows]
        answer_table(("name", "classes", "scores, %"), cells)
    else:
        for name, classes, scores, trained_on in rows:
            answer("\t".join((name, f"{classes} classes", ", ".join(scores), trained_on)))
    return 1 if failures else 0


def _show(values: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    # Quiet, as the card of an untrained one needs TensorFlow.
    with usage_errors(ValueError, OSError, are_flags=False), quiet_tensorflow():
        cards = [dict(fcam_tf.zoo.card(name)) for name in values.names]
    for card in cards:
        card.pop("check", None)  # nobody reads it, and few read all names of many classes
        names = card["architecture"]["class_names"]
        if isinstance(names, list) and len(names) > 20:
            names = [*names[:3], f"... {len(names)} in all"]
            card["architecture"] = {**card["architecture"], "class_names": names}
        Console().print_json(json.dumps(card))
    return 0


def _verify(values: argparse.Namespace) -> int:
    with usage_errors(ValueError, are_flags=False):
        for name in values.names:
            fcam_tf.zoo.folder_of(name)
    load_tensorflow()
    zoo = fcam_tf.zoo
    failures: list[str] = []
    for name in values.names or zoo.list_models():
        with _warned(name, failures):
            card, model = zoo.card(name), zoo.load(name)
            zoo.verify(card, model)
            scores = zoo.verify_scores(card, model, values.data) if values.data else []
            answer(f"{name}: as its card says")
            if values.data and not scores:
                answer(f"  no score on {zoo.data_name(values.data)}")
            for score in scores:
                where = f"{score['data']} {score['split']} {score['metric']}"
                answer(f"  {where}: {score['found']:.2f}, the card says {score['value']:.2f}")
                failures += [name] * (abs(score["found"] - score["value"]) > 0.5)
    return 1 if failures else 0


def _make(values: argparse.Namespace) -> int:
    with usage_errors(ValueError, are_flags=False):
        parts = fcam_tf.zoo.entries.parts_of(values.name)
    load_tensorflow()
    from fcam_tf.zoo.pack import pack  # noqa: PLC0415

    data_name = fcam_tf.zoo.data_name
    try:
        with usage_errors(ValueError, FileExistsError, FileNotFoundError, are_flags=False):
            # Before hours of training.
            fcam_tf.zoo.entries.new_entry(values.name, values.out, replace=values.replace)
            roots = values.test or [values.data]
            tests = {data_name(root): fcam_tf.data.load(root, "test") for root in roots}
            val = fcam_tf.data.load(values.data, "val")
            made = _given(values, *parts) if values.run else _trained(values, *parts)
        model, recipe, images = made
        folder = pack(
            model,
            values.name,
            values.out,
            val=val,
            tests=tests,
            command=values.command or _command(values),
            int8=values.int8,
            replace=values.replace,
            trained_on=values.trained_on or f"{data_name(values.data)}, {images} images",
            licence=values.licence,
            recipe=recipe,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        return failed(error, values)
    note(f"{values.name} in {folder}")
    return 0


def _trained(
    values: argparse.Namespace, backbone: str, method: str
) -> tuple[fcam_tf.models.FCAM, dict[str, Any], int]:
    """Train a classifier and its decoder; return that, its recipe, and on how many images."""
    last = "fsl" if method == FSL else "fcam"
    loaded = {last: recipe_and_splits(values, last, values.set)}
    if method != FSL or loaded[last][0].train != "all":  # else it trains along
        first = recipe_and_splits(values, "classifier", values.classifier_set)
        loaded = {"classifier": first, **loaded}
    elif values.classifier_set:
        raise ValueError("--classifier-set: this recipe trains all layers at once. Use --set")
    start = start_of(values, backbone, None if method == FSL else method)
    for stage, (recipe, splits) in loaded.items():
        out = Path(values.runs, values.name if stage == last else f"{values.name}-classifier")
        with fcam_tf.training.told_by_stage(stage):
            run = fcam_tf.training.train(stage, start, recipe, splits, out)
        report(run, values)
        start = dataclasses.replace(start, model=partial(fcam_tf.models.load, run.best))
    return fcam_tf.models.load(run.best), dataclasses.asdict(recipe), len(splits[0])


def _given(
    values: argparse.Namespace, backbone: str, method: str
) -> tuple[fcam_tf.models.FCAM, dict[str, Any] | None, int | None]:
    """Load a finished run or a .keras file; return what `_trained` does, as far as it is known."""
    if unused := given(values, _TRAINING):
        flags = ", ".join(map(flag_of, unused))
        raise ValueError(f"--run packs what is trained already: leave out {flags}")
    file = fcam_tf.models.saved_file(values.run)
    about = file.with_name("run.json")
    settings, _ = read_settings(about)
    recipe = settings.get("recipe")
    if given(values, ["recipe"]):
        try:
            recipe = json.loads(Path(values.recipe).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"--recipe {values.recipe} is not JSON: {error}") from None
    if not settings and not values.trained_on:
        raise ValueError(f"--trained-on is missing, and {file} does not say")
    model = fcam_tf.models.load(file)
    found = getattr(getattr(model, "classifier", None), "backbone", None)
    if found != backbone or model.method != ("cam" if method == FSL else method):
        what = f"{found}_{model.method}" if found else "not an F-CAM over an fcam_tf Classifier"
        raise ValueError(f"`run` must hold {backbone}_{method}. Received: {file}, {what}.")
    return model, recipe, settings.get("train", {}).get("images")


def _command(values: argparse.Namespace) -> str:
    """Return the line that makes an entry, without the folders of this machine."""
    words = ["fcam", "zoo", "make", values.name]
    for name in given(values, (*_FILES, *_WORDS)):
        found = getattr(values, name)
        for value in found if isinstance(found, list) else [found]:
            words += [flag_of(name), fcam_tf.zoo.data_name(value) if name in _FILES else str(value)]
    return shlex.join(words + ["--int8"] * values.int8)

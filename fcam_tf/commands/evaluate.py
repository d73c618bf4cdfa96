"""``fcam evaluate``: how well heat maps localise, by the benchmark's rules, with a report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import (
    MAP_OPTIONS,
    Parser,
    add_maps,
    add_model,
    add_skip_broken,
    flag_of,
    given,
    map_options,
)
from fcam_tf.commands.model import Model, find_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import (
    absolute,
    answer_table,
    console,
    failed,
    note,
    usage_errors,
    warn,
)
from fcam_tf.names import BASELINES, FCAM_MAP, METHODS

_CENTER, _MAPS = "center", "maps"

_DETAILS = """\
Heat maps are scored against boxes (MaxBoxAcc, MaxBoxAccV2, MaxBoxAccV3) and masks (PxAP) in a frame
of 224 x 224 pixels, as the WSOL benchmark does. All scores are in percent. OUT gets metrics.json,
results.csv (one row for each image) and report.html (one file: tables, curves, pictures).

DATA is a folder in the benchmark's layout (metadata/<split>/ and the images; the benchmark's own
metadata/CUB can be linked there as metadata), tfds:caltech_birds2011, tfds:oxford_iiit_pet, or
shapes (generated). Method center needs no model: it marks the middle of every image. With --maps,
maps come from files of (224, 224) floats in [0, 1]; that of a/b.jpg is a/b.jpg.npy (as the
benchmark's code writes it), a/b.npy, a_b.jpg.npy or a_b.npy.

Coarse maps are scaled as in F-CAM's code. --scaling bicubic scales them as in the benchmark's code,
with which the published rows of CAM, HaS, ACoL, SPG, ADL and CutMix were measured.

The threshold is the best one for the scored split. This is the benchmark's protocol, and an oracle;
--threshold-split val also reports the scores at the best threshold of val. Scores are kept: the
same command resumes after a stop, and if everything is scored it only writes the report again."""
_EXAMPLES = """\
Examples:
  fcam evaluate --model birds.keras --method cam --data data/CUB --out cub-cam
  fcam evaluate --model birds.keras --method layercam --data data/CUB --out cub-layercam \\
      --compare cub-cam --threshold-split val
  fcam evaluate --maps their/scoremaps --data data/CUB --out theirs
  fcam evaluate --method center --data data/CUB --out center"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam evaluate``."""
    usage = "--data DATA --out FOLDER [--model MODEL] [flags]"
    summary = "measure how well heat maps localise: MaxBoxAcc, PxAP and others, with a report"
    parser = fcam.command(
        "evaluate", usage, summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("-d --data DATA", "data set to score on", required=True)
    parser.add("-o --out FOLDER", "folder of the results", required=True)
    add_model(parser)
    parser.add(
        "--method METHOD",
        "how heat maps are made: %(choices)s; fcam is the model's decoder (default: fcam if the "
        "model has a decoder, else layercam of P4,P5, as for fcam localize)",
        choices=(*METHODS, *BASELINES, FCAM_MAP, _CENTER),
    )
    add_maps(parser, batch_size=32)
    parser.add("--maps FOLDER", "score the .npy maps of this folder instead")
    parser.add("--split SPLIT", "split of the data to score", default="test")
    parser.add(
        "--labels truth|predicted",
        "class whose map is scored; truth is the protocol, predicted is for a model whose classes "
        "are not the data set's",
        default="truth",
    )
    text = (
        "how coarse maps are scaled to 224 x 224: bilinear, after min-max at their own size, as in "
        "F-CAM's code; or bicubic, before min-max, as in the benchmark's code"
    )
    parser.add("--scaling bilinear|bicubic", text, default="bilinear")
    parser.add("--threshold-split SPLIT", "choose thresholds on this split, too", default="")
    parser.add(
        "--compare OUT...",
        "show another evaluation beside this one; differences are relative to the first",
    )
    parser.add(
        "--explanation",
        "also measure the maps as explanations of the model: deletion, insertion, average drop, "
        "ADCC, ROAD, sensitivity, pointing game, randomised weights (minutes for 100 photos)",
    )
    add_skip_broken(parser)


def _run(values: argparse.Namespace) -> int:
    model = _check(values)
    evaluation, report = fcam_tf.evaluation, fcam_tf.report
    try:
        with usage_errors(TypeError, ValueError, FileNotFoundError), quiet_tensorflow():
            others = [evaluation.StoredEvaluation(folder) for folder in values.compare]
            asked = _asked(values, model)
            source = _source(values, asked, model)
            job = evaluation.Evaluation(
                source, asked, values.out, tell=note, overwrite=values.overwrite
            )
            for other in others:
                report.check_comparable(job.split, other)
        run = job.run(values.batch_size, console())
        file = report.write_report(run, *others)
    except (ValueError, TypeError, RuntimeError) as error:
        return failed(error, values)
    figures = report.tables.comparison(run, others)
    head = f"{run.settings.split}, {len(run.rows)} images, %"
    answer_table([head, *figures.heads[1:]], figures.rows)
    note(f"report in {file}")
    return 0


def _check(values: argparse.Namespace) -> Model | None:
    """Refuse what can be refused without TensorFlow; return the model that is asked for."""
    if values.threshold_split == values.split:
        raise app.UsageError("--threshold-split must be another split than --split")
    if Path(values.out).resolve() in [Path(folder).resolve() for folder in values.compare]:
        raise app.UsageError("--compare must be another folder than --out")
    if values.maps or values.method == _CENTER:
        source = "--maps" if values.maps else f"--method {_CENTER}"
        others = ("model", *(["method"] if values.maps else []), "layer", *MAP_OPTIONS)
        both = given(values, (*others, "explanation", "scaling"))
        if both:
            raise app.UsageError(f"{source} and {flag_of(both[0])} exclude each other")
        return None
    if not values.model:
        raise app.UsageError(f"--model is missing (or --maps, or --method {_CENTER})")
    return find_model(values.model)


def _asked(
    values: argparse.Namespace, model: Model | None
) -> fcam_tf.evaluation.EvaluationSettings:
    """What decides the results, as far as it is known without TensorFlow."""
    numbers = fcam_tf.evaluation.ExplanationSettings()
    settings = fcam_tf.evaluation.EvaluationSettings(
        method=_MAPS if values.maps else values.method or "",
        data=fcam_tf.data.absolute(values.data),
        split=values.split,
        model=absolute(values.model) if model else "",
        model_sha256=model.sha256 if model else "",
        layer=values.layer,
        options=map_options(values),
        maps=absolute(values.maps) if values.maps else "",
        threshold_split=values.threshold_split,
        labels=values.labels,
        scaling=values.scaling,
        explanation=dataclasses.asdict(numbers) if values.explanation else {},
    )
    left_out = []
    for split in settings.splits().values() if values.skip_broken else ():
        left_out += fcam_tf.data.left_out(split, warn)
    return dataclasses.replace(settings, left_out=left_out)


def _source(
    values: argparse.Namespace, asked: fcam_tf.evaluation.EvaluationSettings, model: Model | None
) -> fcam_tf.evaluation.MapSource | Callable[[], Any]:
    """Return where maps come from, or what loads the model."""
    if values.maps:
        ids = [name for split in asked.splits().values() for name in split.ids]
        return fcam_tf.evaluation.StoredMaps(values.maps, ids)

    def load_model(model: Model) -> Any:
        note(f"Loading {values.model} ...")
        return model.load()

    return partial(load_model, model) if model else fcam_tf.evaluation.Center()

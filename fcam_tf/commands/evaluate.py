"""``fcam evaluate``: how well heat maps localise, by the benchmark's rules, with a report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.model import HELP, check_model, define_import, identify, load_model, named
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import absolute, console, failed, require, usage_errors
from fcam_tf.names import BASELINES, METHODS

if TYPE_CHECKING:
    import keras
    from rich.console import Console
    from rich.table import Table

    from fcam_tf.evaluation import MapSource, Run, Settings

_CENTER, _OWN, _MAPS = "center", "fcam", "maps"

_DETAILS = """\
Heat maps are scored against boxes (MaxBoxAcc, MaxBoxAccV2, MaxBoxAccV3) and masks (PxAP) in a frame
of 224 x 224 pixels, as the WSOL benchmark does. All figures are percent. OUT gets metrics.json,
results.csv (one row for each image) and report.html (one file: tables, curves, pictures).

DATA is a folder in the benchmark's layout (metadata/<split>/ and the images; the benchmark's own
metadata/CUB can be linked there as metadata), tfds:caltech_birds2011, tfds:oxford_iiit_pet, or
shapes (generated). Method center needs no model: it marks the middle of every image. With --maps,
maps come from files of (224, 224) floats in [0, 1]; that of a/b.jpg is a/b.jpg.npy (as the
benchmark's code writes it), a/b.npy, a_b.jpg.npy or a_b.npy.

The threshold is the best for the scored split, which is the benchmark's protocol and an oracle;
--threshold-split val tells besides what the best threshold of val gives. What is scored is kept:
the same command goes on after a stop, and only writes the report anew if all is done.

Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam evaluate --model birds.keras --method cam --data data/CUB --out cub-cam
  fcam evaluate --model birds.keras --method layercam --data data/CUB --out cub-layercam \\
      --compare cub-cam --threshold-split val
  fcam evaluate --maps their/scoremaps --data data/CUB --out theirs
  fcam evaluate --method center --data data/CUB --out center"""


def _define(values: flags.FlagValues) -> None:
    define_import(values)
    flags.DEFINE_string(
        "model",
        None,
        f"`MODEL`: {HELP}",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "method",
        None,
        (*METHODS, *BASELINES, _OWN, _CENTER),
        "how heat maps are made; fcam: by the model's own decoder (default: fcam where the model "
        "has one, else layercam of P4,P5, as fcam localize does)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "layer",
        "",
        "`NAME,...` of the layers to weigh: levels such as P5, or layer names; layercam fuses "
        "several (default: the top map)",
        flag_values=values,
    )
    flags.DEFINE_string("maps", None, "`FOLDER` of .npy maps to score instead", flag_values=values)
    flags.DEFINE_string("data", None, "`DATA` to score on", flag_values=values)
    flags.DEFINE_string("split", "test", "`SPLIT` of the data", flag_values=values)
    flags.DEFINE_enum(
        "labels",
        "truth",
        ("truth", "predicted"),
        "the class whose map is scored; truth is the protocol, predicted is for a model whose "
        "classes are not the data set's",
        flag_values=values,
    )
    flags.DEFINE_string(
        "threshold_split", "", "`SPLIT` to choose thresholds on, besides", flag_values=values
    )
    flags.DEFINE_string("out", None, "output `FOLDER`", flag_values=values)
    flags.DEFINE_multi_string(
        "compare",
        [],
        "`OUT` of another evaluation to show beside this one; may be repeated, and the first is "
        "what differences refer to",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch_size", 32, "`N` images for one call of the model", 1, flag_values=values
    )
    flags.DEFINE_boolean(
        "overwrite",
        False,
        "drop what is in the output folder, and start afresh",
        flag_values=values,
    )


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    _check(values, arguments)
    notes = console(stderr=True)
    from fcam_tf import evaluation, report  # noqa: PLC0415

    try:
        with usage_errors(ValueError, FileNotFoundError):
            others = [evaluation.Run(folder) for folder in values.compare]
            asked = _asked(values)
            source = _source(values, asked, notes)
            # What loads a model is quiet by itself, and tells that it does.
            with contextlib.nullcontext() if values.model else quiet_tensorflow():
                job = evaluation.Evaluation(
                    source, asked, values.out, tell=notes.print, overwrite=values.overwrite
                )
            for other in others:
                report.check_comparable(job.split, other)
        run = job.run(values.batch_size, notes)
        file = report.write_report(run, *others)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        return failed(notes, error)
    from rich.console import Console  # noqa: PLC0415

    Console().print(_table(run, others))
    notes.print(f"report in {file}")
    return 0


def _check(values: flags.FlagValues, arguments: list[str]) -> None:
    """Refuse what can be refused without TensorFlow."""
    if arguments:
        raise app.UsageError(f"does not know what to do with {' '.join(arguments)!r}")
    require(values, "data", "out")
    _check_source(values)
    if values.threshold_split == values.split:
        raise app.UsageError("--threshold-split must be another split than --split")
    if Path(values.out).resolve() in [Path(folder).resolve() for folder in values.compare]:
        raise app.UsageError("--compare must be another folder than --out")


def _check_source(values: flags.FlagValues) -> None:
    """Refuse what names no source of maps, or two."""
    if values.maps or values.method == _CENTER:
        source = "--maps" if values.maps else f"--method {_CENTER}"
        others = ("model", "method", "layer") if values.maps else ("model", "layer")
        given = [f"--{name}" for name in others if values[name].value]
        if given:
            raise app.UsageError(f"{source} and {given[0]} exclude each other")
    elif not values.model:
        raise app.UsageError(f"--model is missing (or --maps, or --method {_CENTER})")
    else:
        check_model(values.model)


def _asked(values: flags.FlagValues) -> Settings:
    """What decides the results, as far as it is known without TensorFlow."""
    from fcam_tf.evaluation import Settings  # noqa: PLC0415

    named_or_none = not values.model or named(values.model)
    return Settings(
        method=_MAPS if values.maps else values.method or "",
        data=absolute(values.data),
        split=values.split,
        model=(values.model or "") if named_or_none else absolute(values.model),
        model_sha256=identify(values.model) if values.model else "",
        layer=values.layer,
        maps=absolute(values.maps) if values.maps else "",
        threshold_split=values.threshold_split,
        labels=values.labels,
    )


def _source(
    values: flags.FlagValues, asked: Settings, notes: Console
) -> MapSource | Callable[[], keras.Model]:
    """Return where maps come from, or what loads the model."""
    from fcam_tf import evaluation  # noqa: PLC0415

    if values.maps:
        ids = [name for split in asked.splits().values() for name in split.ids]
        return evaluation.StoredMaps(values.maps, ids)
    if values.method == _CENTER:
        return evaluation.Center()

    def load() -> keras.Model:
        notes.print(f"Loading {values.model} ...")
        with quiet_tensorflow():
            return load_model(values.model)

    return load


def _table(run: Run, others: Sequence[Run]) -> Table:
    """The headline figures; differences are to the first of the others."""
    from rich.table import Table  # noqa: PLC0415

    from fcam_tf.report import HEADLINES  # noqa: PLC0415

    runs = [*others, run]
    table = Table(f"{run.settings.split}, {len(run.rows)} images, %")
    for each in runs:
        table.add_column(each.settings.title, justify="right")
    if others:
        table.add_column("difference", justify="right")
    for name in HEADLINES:
        values = [each.metrics[name] for each in runs]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        if others:
            first, last = values[0], values[-1]
            cells.append("-" if None in (first, last) else f"{last - first:+.2f}")
        table.add_row(name, *cells)
    return table


COMMAND = Command(
    usage="--data DATA --out FOLDER [--model M] [flags]",
    summary="how well heat maps localise: MaxBoxAcc, PxAP and others, with a report",
    details=_DETAILS,
    define=_define,
    run=_run,
)

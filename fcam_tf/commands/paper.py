"""``fcam paper``: the paper's tables and figures, trained and measured here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, add_training, flag_of, given, positive
from fcam_tf.commands.quiet import load_tensorflow
from fcam_tf.commands.telling import answer, console, failed, note, usage_errors
from fcam_tf.commands.weights import weights_of
from fcam_tf.names import BACKBONES, lookup

_PAPERS = ["vgg16", "inceptionv3", "resnet50"]
_DETAILS = """\
Trains the models that a table or figure of the paper needs, scores them on the test split, and
writes the table or figure with the published numbers beside ours. Each training is an ordinary run
in OUT. A finished training is not repeated, by this table or another one in the same folder, and
the same command resumes a table that was stopped. Several processes may work in one folder.

table1: which losses help: a method, and F-CAM on it with SR, SR + ASC, SR + CRF and all three.
table3: methods side by side; --methods names them, such as cam,cam+fcam,has,fsl,center.
table5: the accuracy of the classifiers of table3.
table2: the decoders as built; table4: parameters, and the time of one map of each method. Both need
        no data and no weights.
fig3:   PxAP of the true masks scaled down and back up; with --methods (and the flags of table3),
        beside the scores of these methods. fig4: one mask at each scale.
vary:   F-CAM with each value of --vary, on the test split.
fig2:   the same on the val split, as a curve (default: for loss.negative_fraction, which is n-).
fig5, fig6: the distribution of the activations of maps, for methods and for F-CAM.
fig7:   MaxBoxAcc against the threshold at IoU 0.3, 0.5 and 0.7; fig8: precision against recall.
fig9:   accuracy and localisation of the classifiers on val over the epochs, with the chosen epochs
        marked.
fig1:   the maps of methods and of F-CAM on a few photos, a sheet for each backbone; fig10: photos
        in which F-CAM finds the object, and in which it does not, by boxes; fig11: by masks.

--recipe and --output-stride are as for fcam train. --weights is for all backbones, or for each one
by name: --weights resnet50=a.h5,vgg16=b.h5. Everything is trained --seeds times. With --draws, the
benchmark's search first tunes the classifier of each method."""
_EXAMPLES = """\
Examples:
  fcam paper table1 --data data/CUB --out runs/cub
  fcam paper table3 --data data/CUB --out runs/cub-v2 --draws 30 --set select=MaxBoxAccV2 \\
      --classifier-set select=MaxBoxAccV2
  fcam paper vary --data shapes --out runs/shapes --recipe small --backbones efficientnetlite_b0 \\
      --output-stride 16 --vary loss.crf=0,1e-9,4e-9"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam paper``."""
    usage = "WHAT --data DATA --out OUT [flags]"
    summary = "train and measure a table or figure of the paper"
    parser = fcam.command("paper", usage, summary, details=_DETAILS, examples=_EXAMPLES, run=_run)
    parser.add("what WHAT", f"what to make: {', '.join(WHATS)}", choices=tuple(WHATS))
    parser.add("-o --out FOLDER", "folder to write to", required=True)
    parser.add("--backbones NAME,NAME", f"the columns (default: {','.join(_PAPERS)})", type=_names)
    parser.add("--methods NAME,NAME", "the methods (default: the paper's)", type=_names)
    parser.add("--seeds N", "number of trainings of each model", type=positive, default=3)
    text = "trainings of the search that tunes each classifier (default: no search)"
    parser.add("--draws N", text, type=positive)
    text = "change a setting of the classifiers' recipe; --set changes the F-CAMs' recipe"
    parser.add("--classifier-set KEY=VALUE...", text)
    parser.add("--vary KEY=VALUE,VALUE", "a key of the F-CAMs' recipe, and the values to compare")
    parser.add("--rounds N", "table4: number of calls to time", type=positive, default=7)
    text = "table4: time the score methods with K channels, and estimate the rest (default: all)"
    parser.add("--channels K", text, type=positive)
    text = "fig1, fig10 and fig11: threshold of the maps (default: the best on the test split)"
    parser.add("--threshold T", text, type=_fraction)
    add_training(parser, several=True)


def _run(values: argparse.Namespace) -> int:
    what = "table3" if values.what == "fig3" and values.methods else values.what  # trains the same
    if strange := [name for name in given(values, _ONLY_FOR) if what not in _ONLY_FOR[name]]:
        name, whats = strange[0], _ONLY_FOR[strange[0]]
        told = f"{', '.join(whats[:-1])}{' and ' * (len(whats) > 1)}{whats[-1]}"
        raise app.UsageError(f"{flag_of(name)} is for {told}, and this is {values.what}")
    if not (values.data or values.what in _WITHOUT_DATA):
        raise app.UsageError(f"--data is missing: {values.what} measures on a data set")
    if values.what == "vary" and not values.vary:
        raise app.UsageError("--vary is missing, such as --vary loss.crf=0,1e-9,4e-9")
    values.backbones, values.methods = values.backbones or _PAPERS, values.methods or []
    with usage_errors(ValueError):
        for name in values.backbones:
            lookup(dict.fromkeys(BACKBONES), name, "backbones")
    values.weights = weights_of(values.weights, values.backbones)
    load_tensorflow()
    try:
        with usage_errors(ValueError, FileNotFoundError, are_flags=False):
            files = WHATS[values.what](values)
    except RuntimeError as error:
        return failed(error, values)
    for file in files:
        note(f"written: {file}")
    return 1 if "study" in values and values.study.missing else 0


def _study(values: argparse.Namespace) -> Any:
    values.study = fcam_tf.paper.Study(
        values.data,
        Path(values.out),
        values.recipe,
        tuple(values.classifier_set),
        tuple(values.set),
        _stride(values),
        values.weights,
        values.draws or 0,
        values.strategy == "mirrored",
        values.skip_broken,
        note,
        console(),
    )
    return values.study


def _table(values: argparse.Namespace, rows: Sequence[Any], **options: Any) -> list[Path]:
    _, files = fcam_tf.paper.table(
        _study(values), values.what, rows, values.backbones, values.seeds, **options
    )
    return _shown(files)


def _shown(files: list[Path]) -> list[Path]:
    for file in files:
        if file.suffix == ".md":
            answer(file.read_text("utf-8").rstrip())
    return files


def _rows(kind: str, *arguments: Any) -> list[Any]:
    with usage_errors(ValueError):
        return getattr(fcam_tf.paper.rows, kind)(*arguments)


def _table1(values: argparse.Namespace) -> list[Path]:
    return _table(values, _rows("table1", values.methods))


def _table3(values: argparse.Namespace) -> list[Path]:
    return _table(values, _rows("table3", values.methods))


def _table5(values: argparse.Namespace) -> list[Path]:
    return _table(values, _rows("table5", values.methods), metrics=("accuracy",))


def _vary(values: argparse.Namespace) -> list[Path]:
    return _table(values, _rows("vary", values.methods, values.vary))


def _fig2(values: argparse.Namespace) -> list[Path]:
    variation = values.vary or fcam_tf.paper.sweep.NEGATIVES
    rows = _rows("vary", values.methods, variation)
    return fcam_tf.paper.sweep.sweep(
        _study(values), values.what, rows, values.backbones, values.seeds
    )[1]


def _stride(values: argparse.Namespace) -> int | None:
    return values.output_stride and int(values.output_stride)


def _folder(values: argparse.Namespace) -> Path:
    folder = Path(values.out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _table2(values: argparse.Namespace) -> list[Path]:
    arguments = (_folder(values), values.backbones, _stride(values))
    return _shown(fcam_tf.paper.measured.table2(*arguments))


def _table4(values: argparse.Namespace) -> list[Path]:
    with usage_errors(ValueError):
        for name in values.methods:
            lookup(fcam_tf.paper.runtime.ROWS, name, "methods")
    return _shown(
        fcam_tf.paper.measured.table4(
            _folder(values),
            values.backbones,
            _stride(values),
            methods=values.methods,
            rounds=values.rounds,
            channels=values.channels,
            note=note,
        )
    )


def _masked(values: argparse.Namespace) -> Any:
    split = fcam_tf.data.load(values.data, "test")
    fcam_tf.paper.downscale.check_masks(split)  # before the folder is made
    return split


def _fig3(values: argparse.Namespace) -> list[Path]:
    split = _masked(values)
    reached: tuple[dict[str, float], str] = ({}, "")
    if values.skip_broken:  # which the methods are not scored on, either
        split = fcam_tf.data.without_broken(split, note)
    if values.methods:
        rows = _rows("table3", values.methods)
        arguments = (_study(values), values.what, rows, values.backbones, values.seeds)
        reached = fcam_tf.paper.reached(*arguments)
    return _shown(fcam_tf.paper.measured.fig3(_folder(values), split, reached))


def _fig4(values: argparse.Namespace) -> list[Path]:
    split = _masked(values)
    return fcam_tf.paper.measured.fig4(_folder(values), split)


def _curves(values: argparse.Namespace) -> list[Path]:
    curves = fcam_tf.paper.curves
    draw = {"fig7": curves.localisation, "fig8": curves.precision_recall}
    rows = _rows("pairs", values.methods)
    return draw.get(values.what, curves.activations)(
        _study(values), values.what, rows, values.backbones, values.seeds
    )


def _fig9(values: argparse.Namespace) -> list[Path]:
    rows = _rows("table5", values.methods or fcam_tf.paper.rows.SIX)
    return fcam_tf.paper.convergence.convergence(
        _study(values), values.what, rows, values.backbones, values.seeds
    )


def _sheets(values: argparse.Namespace) -> list[Path]:
    rows = _rows("pairs", values.methods)
    arguments = (_study(values), values.what, rows, values.backbones, values.threshold)
    return fcam_tf.paper.sheets.sheets(*arguments)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number in [0, 1). Received: {text}")
    return value


_WITHOUT_DATA = ("table2", "table4")
_SEVERAL = ("table1", "table3", "table5", "vary", "fig2", "fig5", "fig6", "fig7", "fig8", "fig9")
_SHEETS = ("fig1", "fig10", "fig11")
_TRAINED = (*_SEVERAL, *_SHEETS)
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "seeds": _SEVERAL,
    **dict.fromkeys(("draws", "recipe", "set", "classifier_set"), _TRAINED),
    **dict.fromkeys(("weights", "strategy", "skip_broken"), _TRAINED),
    "vary": ("vary", "fig2"),
    "methods": (*_TRAINED, "table4", "fig3"),
    "backbones": (*_TRAINED, "table2", "table4"),
    "output_stride": (*_TRAINED, "table2", "table4"),
    "threshold": _SHEETS,
    "rounds": ("table4",),
    "channels": ("table4",),
}
# A table or figure is a function that writes its files, and a line here.
WHATS: dict[str, Callable[[argparse.Namespace], list[Path]]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "table5": _table5,
    "vary": _vary,
    "fig2": _fig2,
    "fig3": _fig3,
    "fig4": _fig4,
    **dict.fromkeys(("fig5", "fig6", "fig7", "fig8"), _curves),
    "fig9": _fig9,
    **dict.fromkeys(_SHEETS, _sheets),
}


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        message = f"must be names separated by commas, each once. Received: {text}"
        raise argparse.ArgumentTypeError(message)
    return names

"""``fcam localize``: what is in photos, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from fcam_tf.commands.command import Command
from fcam_tf.commands.model import HELP, check_model, define_import, identify, load_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import console, failed, usage_errors
from fcam_tf.names import BASELINES, METHODS

if TYPE_CHECKING:
    from rich.console import Console

    from fcam_tf.predict import Job, Localizer, Settings

AUTO, OWN = "auto", "fcam"
_ANSWERS = 20  # photos; the answers for more are in the file only

_DETAILS = """\
PHOTO is a file, a folder (searched recursively) or a quoted glob. For each photo the output folder
gets NAME_overlay.png (the heat map over the photo, box, label and score), NAME_heatmap.png and one
line in results.jsonl: file, label, label_name, score, box [x0, y0, x1, y1] (inclusive, in the
pixels of the photo as displayed; null where nothing was found), threshold, width, height.

What is done already is skipped. A photo that cannot be read is reported, the others go on.
Exit status: 0 all went well, 1 some photo failed, 2 wrong usage, 130 interrupted.

Examples:
  fcam localize cat.jpg
  fcam localize holiday/ 'more/**/*.png' --out found --heatmap npy
  fcam localize dogs/ --label beagle --method gradcam --threshold 0.2
  fcam localize birds/ --model runs/cub-fcam"""


def _define(values: flags.FlagValues) -> None:
    define_import(values)
    flags.DEFINE_string(
        "model",
        "efficientnetlite_b0_cam",
        f"`MODEL`: {HELP}",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "method",
        AUTO,
        (AUTO, OWN, *METHODS, *BASELINES),
        "how the heat map is made; fcam: by the model's decoder; auto: fcam where it has one, else "
        "layercam of P4,P5",
        flag_values=values,
    )
    flags.DEFINE_string(
        "layer",
        "",
        "`NAME,...` of the layers to weigh: levels such as P5, or layer names; layercam fuses "
        "several (default: the top map)",
        flag_values=values,
    )
    flags.DEFINE_string("out", "fcam-output", "output `FOLDER`", flag_values=values)
    flags.DEFINE_string(
        "label",
        None,
        "`INDEX|NAME` of the class to localise (default: the predicted one of each photo)",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "top", 1, "list the `K` most probable classes in results.jsonl", 1, flag_values=values
    )
    flags.DEFINE_string(
        "threshold",
        AUTO,
        "what counts as object: `otsu|0..1`, a fraction of the heat map's maximum; auto: the one "
        "chosen for the model's decoder, else otsu",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "heatmap",
        "png",
        ("png", "npy", "none"),
        "heat map file: PNG of 16 bits, float32 array, or none",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch_size", 8, "`N` photos for one call of the model", 1, flag_values=values
    )
    flags.DEFINE_boolean("overwrite", False, "make again what is done", flag_values=values)


def _run(values: flags.FlagValues, photos: list[str]) -> int:
    if not photos:
        raise app.UsageError("name at least one photo, folder or glob")
    check_model(values.model)
    if Path(values.out).exists() and not Path(values.out).is_dir():
        raise app.UsageError(f"--out {values.out} is not a folder")
    # Imported here: NumPy, scikit-image and matplotlib would slow help down.
    from fcam_tf import predict  # noqa: PLC0415

    notes = console(stderr=True)
    with usage_errors(ValueError, FileNotFoundError):
        settings = predict.Settings(
            values.model,
            identify(values.model),
            values.method,
            AUTO if values.threshold == AUTO else predict.check_threshold(values.threshold),
            values.label,
            values.top,
            values.heatmap,
            values.layer,
        )
    try:
        with usage_errors(predict.SettingsChangedError):
            job = predict.Job(
                photos, values.out, settings, overwrite=values.overwrite, console=notes
            )
        with job:
            if job.todo:
                notes.print(f"Loading {settings.model} ...")
                job.run(_localizer(settings, notes), values.batch_size)
    except predict.FolderBusyError as error:
        notes.print(f"fcam: {error}")
        return 1
    except OSError as error:  # the disk is full, or there are no weights
        reason = f"{error.filename or values.out}: {error.strerror}" if error.errno else str(error)
        return failed(notes, reason)
    _report(job, Path(values.out), notes)
    return 1 if job.failures else 0


def _localizer(settings: Settings, notes: Console) -> Localizer:
    """Load the model, and check what only the model can tell."""
    with quiet_tensorflow():
        from fcam_tf import predict  # noqa: PLC0415

        with usage_errors(ValueError, FileNotFoundError):
            model = load_model(settings.model)
            layer = settings.layer.split(",") if settings.layer else None
            method = None if settings.method == AUTO else settings.method
            threshold = None if settings.threshold == AUTO else settings.threshold
            localizer = predict.Localizer(model, method, threshold, layer)
    where = f" at {localizer.layer}" if localizer.layer else ""
    notes.print(f"maps of {localizer.method}{where}, threshold {localizer.threshold}")
    if settings.label is not None:
        with usage_errors(ValueError):
            predict.find_label(settings.label, localizer.class_names, localizer.num_classes)
    return localizer


def _report(job: Job, out: Path, notes: Console) -> None:
    """Tell what came out: the answers for a few photos, the counts for any number."""
    if len(job.sources) <= _ANSWERS:
        from fcam_tf.predict import read_results  # noqa: PLC0415

        files = {str(source.path) for source in job.sources}
        answers = console()
        for record in read_results(out):
            if record["file"] in files:
                answers.print(_answer(record, out))
    counts = [f"{job.localized} localised"]
    counts += [f"{job.skipped} done before"] if job.skipped else []
    counts += [f"{len(job.failures)} failed"] if job.failures else []
    where = f"; results in {out / 'results.jsonl'}" if job.localized or job.skipped else ""
    notes.print(f"{', '.join(counts)}{where}")


def _answer(record: dict[str, Any], out: Path) -> str:
    from fcam_tf.predict import displayed  # noqa: PLC0415

    label = record["label_name"] or f"class {record['label']}"
    where = f"box {record['box']}" if record["box"] else "nowhere in particular"
    file, overlay = displayed(record["file"]), displayed(str(out / record["overlay"]))
    return f"{file}: {label} {record['score']:.0%}, {where} -> {overlay}"


COMMAND = Command(
    usage="PHOTO... [flags]",
    summary="what is in photos, and where: label, heat map, box and a picture",
    details=_DETAILS,
    define=_define,
    run=_run,
)

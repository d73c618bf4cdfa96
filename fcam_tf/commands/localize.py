"""``fcam localize``: what is in photos, and where."""

from __future__ import annotations

import argparse
from pathlib import Path

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, add_maps, add_model, map_options, positive
from fcam_tf.commands.model import find_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import answer, console, failed, note, usage_errors
from fcam_tf.names import BASELINES, FCAM_MAP, METHODS, printable

AUTO = "auto"
_ANSWERS = 20  # photos; the answers for more are in the file only

_DETAILS = """\
PHOTO is a file, a folder (searched recursively) or a quoted glob; an archive (zip, tar); a video,
of which --fps frames a second are taken (with the extra "video"); an address (https://...); or -
for a photo from standard input. What is no file here is kept in OUT/inputs. For each photo OUT
gets NAME_overlay.png (the heat map over the photo, box, label and score), NAME_heatmap.png and one
line in results.jsonl: file, label, label_name, score, box [x0, y0, x1, y1] (inclusive, in the
pixels of the photo as displayed; null where nothing was found), threshold, width, height.

A model whose classes do not exclude each other (it ends in sigmoids) may find several in a photo:
each that is at least 50 % probable, or the best one, gets its own map and box, NAME_overlay_2.png
and so on, and labels in results.jsonl lists them. --label picks one.

What is done already is skipped. A photo that cannot be read is reported, and the others go on."""
_EXAMPLES = """\
Examples:
  fcam localize cat.jpg
  fcam localize holiday/ 'more/**/*.png' --out found --heatmap npy
  fcam localize dogs/ --label beagle --method gradcam --threshold 0.2 --out beagles
  fcam localize holiday.zip clip.mp4 https://example.com/cat.jpg --exclude 'IMG_00*' --fps 2
  fcam localize birds/ --model runs/cub-fcam --flip --out birds-found"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam localize``."""
    summary = "what is in photos, and where: label, heat map, box and a picture"
    parser = fcam.command(
        "localize", "PHOTO... [flags]", summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("photos PHOTO", "file, folder, quoted glob, archive, video, address or -", nargs="+")
    parser.add("--exclude GLOB...", "leave out photos, or folders below PHOTO, of this name")
    text = "frames taken of a second of a video, whose overlays become a video, too (default: 1)"
    parser.add("--fps N", text, type=float, default=1.0)
    parser.add("-o --out FOLDER", "folder of the results", default="fcam-output")
    add_model(parser, "efficientnetlite_b0_layercam")
    parser.add(
        "--method METHOD",
        "how the heat map is made: %(choices)s; fcam is the model's decoder, auto that where it "
        "has one, else layercam of P4,P5",
        choices=(AUTO, FCAM_MAP, *METHODS, *BASELINES),
        default=AUTO,
    )
    add_maps(parser, batch_size=8)
    parser.add(
        "-l --label INDEX|NAME",
        "class to localise (default: what each photo shows)",
    )
    parser.add(
        "--top K", "list the K most probable classes in results.jsonl", type=positive, default=1
    )
    parser.add(
        "-t --threshold otsu|0..1|auto",
        "what counts as object, as a fraction of the heat map's maximum; auto: the one chosen for "
        "the model's decoder, else otsu",
        default=AUTO,
    )
    text = "heat map file: PNG of 16 bits, float32 array, or none"
    parser.add("--heatmap png|npy|none", text, default="png")


def _run(values: argparse.Namespace) -> int:
    model = find_model(values.model)
    if Path(values.out).exists() and not Path(values.out).is_dir():
        raise app.UsageError(f"--out {values.out} is not a folder")
    predict = fcam_tf.predict
    with usage_errors(ValueError):
        settings = predict.LocalizeSettings(
            values.model,
            model.sha256,
            values.method,
            AUTO if values.threshold == AUTO else predict.check_threshold(values.threshold),
            values.label,
            values.top,
            values.heatmap,
            values.layer,
            map_options(values),
        )
        job = predict.Job(
            values.photos,
            values.out,
            settings,
            overwrite=values.overwrite,
            exclude=values.exclude,
            fps=values.fps,
            console=console(),
        )
    with job:
        if job.todo:
            note(f"Loading {values.model} ...")
            with usage_errors(TypeError, ValueError, FileNotFoundError), quiet_tensorflow():
                localizer, label = settings.localizer(model.load())
            note(f"maps of {localizer.told}, threshold {localizer.threshold}")
            try:
                # What "auto" comes to may have changed.
                with usage_errors(predict.SettingsChangedError):
                    job.run(localizer, label, values.batch_size)
            except (ValueError, TypeError, RuntimeError) as error:
                return failed(error, values)
    _report(job, Path(values.out))
    return 1 if job.failures else 0


def _report(job: fcam_tf.predict.Job, out: Path) -> None:
    """Tell what came out: the answers for a few photos, the counts for any number."""
    displayed = fcam_tf.predict.displayed
    files = {str(source.path) for source in job.sources} if len(job.sources) <= _ANSWERS else ()
    for record in fcam_tf.predict.read_results(out) if files else ():
        if record["file"] in files:
            for found in record.get("labels", [record]):
                label = found["label_name"] or f"class {found['label']}"
                where = f"box {found['box']}" if found["box"] else "nowhere in particular"
                file = record.get("source") or displayed(record["file"])
                overlay = displayed(str(out / found["overlay"]))
                answer(f"{printable(file)}: {label} {found['score']:.0%}, {where} -> {overlay}")
    counts = [f"{job.localized} localised"]
    counts += [f"{job.skipped} done before"] if job.skipped else []
    counts += [f"{len(job.failures)} failed"] if job.failures else []
    where = f"; results in {out / 'results.jsonl'}" if job.localized or job.skipped else ""
    note(f"{', '.join(counts)}{where}")

"""``fcam localize``: what is in photos, and where."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from absl import app

import fcam_tf
from fcam_tf.commands import beam
from fcam_tf.commands.arguments import Parser, add_maps, add_model, map_options, positive
from fcam_tf.commands.cores import share_cores
from fcam_tf.commands.model import Model, find_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import answer, console, failed, note, usage_errors, warn
from fcam_tf.names import (
    BASELINES,
    DATASETS,
    FCAM_MAP,
    MASKS,
    METHODS,
    MIN_AREA,
    TABLES,
    listed,
    percent,
    printable,
)

AUTO = "auto"
_FILES = ("heatmap", "overlay", "crops", "cutouts")  # flags that are fields of `Files`
_OF_CLASSES = (
    "a decoder's map shows any object; for each class, it is kept only where the classifier sees "
    "that class rather than others"
)
_ANSWERS = 20  # photos; the answers for more are in the file only

_DETAILS = """\
PHOTO is a file, a folder (searched recursively, without hidden files and linked folders) or a
quoted glob; an archive (zip, tar); a video, from which --fps frames per second are taken (needs the
extra "video"); an address (https://...); or - for a photo from standard input. Photos of archives,
videos, addresses and standard input are kept in OUT/inputs.

For each photo OUT gets NAME_overlay.png (the heat map over the photo, boxes, label and score),
NAME_heatmap.png and one line in results.jsonl: file, width, height and objects, the best first.
Each object has label, label_name, score (of its class), box [x0, y0, x1, y1] (inclusive, in the
pixels of the photo as displayed; null where nothing was found), area (fraction of the photo), heat
(mean of the heat map over it), threshold and the names of its files. The line repeats the fields of
its first object.

A photo is searched for the class that it shows, for the classes that --label names, or for the
--top most probable ones. A model whose classes do not exclude each other (it ends in sigmoids) may
find several: each that is at least 50 % probable, or else the best one. Each class has its own map,
overlay (NAME_overlay_2.png and so on) and box. A decoder's map shows the object whatever its class:
if you ask for classes, or there are several, it is kept only where the classifier sees the class
rather than others.

--objects gives each class several boxes, one for each connected region of its map above the
threshold, the largest first. Objects are numbered in results.jsonl as in the names of their masks,
crops and cut-outs: NAME_mask.png, NAME_mask_2.png and so on.

--report, --single-file and --open write a page of all results in OUT, including those of earlier
commands. It sorts and filters the photos, draws boxes at other thresholds, and saves the objects
that you accept.

Photos that are already done are skipped. A photo that cannot be read is reported, and the others
are still done."""
_EXAMPLES = """\
Examples:
  fcam localize cat.jpg
  fcam localize holiday/ 'more/**/*.png' --out found --heatmap npy
  fcam localize dogs/ --label beagle --method gradcam --threshold 0.2 --out beagles
  fcam localize pets/ --label beagle --label tabby --out both
  fcam localize herd.jpg --objects all --mask png --cutouts --out herd
  fcam localize pets/ --annotations coco --annotations yolo --table csv --out labelled
  fcam localize holiday/ --out found --report --open
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
    text = "frames to take from each second of a video; their overlays become a video, too"
    parser.add("--fps N", text, type=float, default=1.0)
    parser.add("-o --out FOLDER", "folder of the results", default="fcam-output")
    add_model(parser, "efficientnetlite_b0_layercam")
    parser.add(
        "--method METHOD",
        "how the heat map is made: %(choices)s; fcam is the model's decoder; auto is fcam if the "
        "model has a decoder, else layercam of P4,P5",
        choices=(AUTO, FCAM_MAP, *METHODS, *BASELINES),
        default=AUTO,
    )
    add_maps(parser, batch_size=8)
    parser.add("-l --label INDEX|NAME...", "class to localise (default: what each photo shows)")
    parser.add("--top K", "localise the K most probable classes", type=positive)
    parser.add(
        "--objects N|all",
        "at most this many regions of each class's map count as objects",
        type=_objects,
        default="1",
    )
    parser.add(
        "--min-area FRACTION",
        "smallest area of an object, as a fraction of the photo; the largest one may be smaller",
        type=float,
        default=MIN_AREA,
    )
    parser.add(
        "-t --threshold otsu|0..1|auto",
        "threshold of an object, as a fraction of the heat map's maximum; auto: the one chosen for "
        "the model's decoder, else otsu",
        default=AUTO,
    )
    text = "heat map file: 16-bit PNG, float32 array, or none"
    parser.add("--heatmap png|npy|none", text, default="png")
    text = "overlay file: the heat map over the photo with boxes; JPEG and WebP are smaller"
    parser.add("--overlay png|jpeg|webp|none", text, default="png")
    parser.add(
        "--mask FORM...",
        "mask of each object at the photo's resolution: %(choices)s; png is 255 on the object, "
        "soft its heat in 8 bits, rle COCO's run lengths in results.jsonl",
        choices=MASKS,
    )
    parser.add("--crops", "write each object's box as JPEG")
    parser.add("--cutouts", "write each object as PNG, transparent around it")
    parser.add(
        "--annotations FORM...",
        "all results as a data set in OUT/annotations: %(choices)s; coco has masks",
        choices=DATASETS,
    )
    text = "all objects as a table, OUT/objects.csv or .parquet: %(choices)s"
    parser.add("--table FORM...", text, choices=TABLES)
    parser.add("--report", "write OUT/report.html, a page to review all results in OUT")
    parser.add("--single-file", "put the report's pictures into its page, 20 kB per photo")
    parser.add("--open", "open the report in the browser")
    beam.add_runner(
        parser, "photos that a Beam worker does at a time, which make one file of results"
    )


def _objects(text: str) -> int | None:
    return None if text == "all" else positive(text, "'all' or ")


def _run(values: argparse.Namespace) -> int:
    large = beam.check_flags(values)
    model = find_model(values.model)
    reported = values.report or values.single_file or values.open
    if reported and values.heatmap == "none":
        raise app.UsageError("the report draws the heat maps; leave out --heatmap none")
    predict = fcam_tf.predict
    with usage_errors(ValueError, ImportError):
        predict.annotations.check_forms(values.annotations, values.table)
        settings = _settings(values, model)
    if large:
        return beam.run(values, model, settings)
    with usage_errors(ValueError, ImportError):
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
                calls = share_cores(len(job.todo) // values.batch_size)
                localizer, labels = settings.localizer(model.load())
            note(f"maps of {localizer.told}, threshold {localizer.threshold}")
            several = labels or values.top or localizer.activation == "sigmoid"
            if localizer.method == FCAM_MAP and several:
                note(_OF_CLASSES)
            try:
                # What "auto" comes to may have changed.
                with usage_errors(predict.SettingsChangedError):
                    job.run(localizer, labels, values.batch_size, calls)
            except (ValueError, TypeError, RuntimeError) as error:
                return failed(error, values)
        else:
            with usage_errors(ImportError):
                job.write_videos()
        _annotate(values)
        page = _page(values) if reported else None
    _report(job, Path(values.out))
    if page:
        note(f"report in {page}")
        if values.open and not webbrowser.open(page.resolve().as_uri()):
            warn("no browser was found to open the report with")
    return 1 if job.failures else 0


def _settings(values: argparse.Namespace, model: Model) -> fcam_tf.predict.LocalizeSettings:
    predict = fcam_tf.predict
    files = {name: getattr(values, name) for name in _FILES}
    files["mask"] = [*values.mask, *predict.annotations.masks_for(values.annotations)]
    threshold = values.threshold
    return predict.LocalizeSettings(
        values.model,
        model.sha256,
        values.method,
        AUTO if threshold == AUTO else predict.check_threshold(threshold),
        label=values.label,
        top=values.top,
        objects=values.objects,
        min_area=values.min_area,
        files=predict.Files(**files),
        layer=values.layer,
        options=map_options(values),
    )


def _annotate(values: argparse.Namespace) -> None:
    """Write the data sets and tables, and tell of entries that no longer fit their photos."""
    predict, out = fcam_tf.predict, Path(values.out)
    written = predict.write_annotations(out, values.annotations, values.table)
    for path in written:
        note(f"annotations in {path}")
    results = predict.read_results(out) if written else ()
    stale = [predict.displayed(each["file"]) for each in results if not predict.is_current(each)]
    if stale:
        warn(
            "the annotations include photos that were removed or changed after they were "
            f"localised: {listed(stale)}; localise them again, or remove their lines from "
            f"{out / 'results.jsonl'}"
        )


def _page(values: argparse.Namespace) -> Path | None:
    """Write the page of all results; None where there are none, as no photo could be read."""
    out = Path(values.out)
    if not any(fcam_tf.predict.read_results(out)):
        return None
    return fcam_tf.predict.write_gallery(out, single=values.single_file, console=console())


def _report(job: fcam_tf.predict.Job, out: Path) -> None:
    """Tell what came out: the answers for a few photos, the counts for any number."""
    displayed = fcam_tf.predict.displayed
    files = {str(source.path) for source in job.sources} if len(job.sources) <= _ANSWERS else ()
    for record in fcam_tf.predict.read_results(out) if files else ():
        if record["file"] in files:
            for found in record["objects"]:
                label = found["label_name"] or f"class {found['label']}"
                where = f"box {found['box']}" if found["box"] else "no box"
                overlay = found["overlay"] and displayed(str(out / found["overlay"]))
                shown = f" -> {overlay}" if overlay else ""
                file = printable(record.get("source") or displayed(record["file"]))
                answer(f"{file}: {label} {percent(found['score'])}, {where}{shown}")
    counts = [f"{job.localized} localised"]
    counts += [f"{job.skipped} done before"] if job.skipped else []
    counts += [f"{len(job.failures)} failed"] if job.failures else []
    where = f"; results in {out / 'results.jsonl'}" if job.localized or job.skipped else ""
    note(f"{', '.join(counts)}{where}")

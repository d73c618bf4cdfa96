"""``fcam store-cams``: the maps that teach a decoder, made before its training."""

from __future__ import annotations

import argparse
import shlex
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app

import fcam_tf
from fcam_tf.commands import beam
from fcam_tf.commands.arguments import Parser, add_model, add_recipe, add_skip_broken
from fcam_tf.commands.model import find_model, load_named
from fcam_tf.commands.quiet import load_tensorflow
from fcam_tf.commands.telling import failed, note, usage_errors, warn
from fcam_tf.names import BASELINES, METHODS

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from fcam_tf.data import Split
    from fcam_tf.training import Recipe, Start
    from fcam_tf.training.cam_store import Teacher

_DETAILS = """\
A decoder that is trained with --set cams=stored learns from one map of each photo, made by any
method. This command makes the maps in advance, on this machine or with Apache Beam on many, and
keeps them in OUT. A training with the same data, model, method and recipe, and with --cams OUT,
finds them all.

OUT gets cams.json, with the settings of the maps, and cams.npy, with a record for each photo. The
same command makes the maps that are missing after a stop, or after photos have changed. All workers
of Beam write to the same file, so they must all reach DATA, OUT and MODEL under the same names."""
_EXAMPLES = """\
Examples:
  fcam store-cams --data data/CUB --model runs/cub --method scorecam --out maps
  fcam train fcam --data data/CUB --model runs/cub --method scorecam --out runs/cub-fcam \\
      --set cams=stored --cams maps
  fcam store-cams --data data/CUB --model runs/cub --method layercam --out maps --runner beam \\
      --set layer=P4,P5 --set stored_flip=true --beam-option direct_num_workers=4 \\
      --beam-option direct_running_mode=multi_processing"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam store-cams``."""
    usage = "--data DATA --model MODEL --out FOLDER [flags]"
    summary = "make the maps that teach a decoder, in advance, on one machine or many"
    parser = fcam.command(
        "store-cams", usage, summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("-o --out FOLDER", "folder of the maps, --cams of fcam train", required=True)
    add_model(parser)
    parser.add(
        "--method METHOD",
        "method whose maps are stored: %(choices)s (default: cam, or what MODEL was trained with)",
        choices=(*METHODS, *BASELINES),
    )
    add_recipe(parser)
    add_skip_broken(parser)
    beam.add_runner(parser, "photos that a Beam worker does at a time, a multiple of 16")


def _run(values: argparse.Namespace) -> int:
    by_beam = beam.check_runner(values)
    if not values.model:
        raise app.UsageError("--model is missing")
    model = find_model(values.model)
    options = beam.options_of(values) if by_beam else None
    load_tensorflow()
    training = fcam_tf.training
    with usage_errors(ValueError, TypeError, FileNotFoundError, are_flags=False):
        recipe = training.recipe_of("fcam", values.recipe, ["cams=stored", *values.set])
        images = training.load_split(
            values.data, "train", recipe, warn, skip_broken=values.skip_broken
        )
        load = partial(load_named, values.model, model.sha256, tuple(values.imports))
        start = training.Start(load, values.method, cams=values.out)
        teacher, images = training.teacher_of(start, recipe, images)
        if options is None:
            training.cam_store.store(teacher, images, values.out)
        elif status := _store_by_beam(values, options, (start, recipe), teacher, images):
            return status
    if not values.dry_run:
        note(f"{len(images)} maps in {values.out}; next: {_training(values)} --out RUN")
    return 0


def _training(values: argparse.Namespace) -> str:
    """Return the command of the training that finds the maps."""
    flags = ["--data", values.data, "--model", values.model, "--recipe", values.recipe]
    flags += ["--method", values.method] if values.method else []
    flags += [flag for file in values.imports for flag in ("--import", file)]
    flags += [flag for text in ("cams=stored", *values.set) for flag in ("--set", text)]
    flags += ["--skip-broken"] * values.skip_broken
    return shlex.join(["fcam", "train", "fcam", *flags, "--cams", values.out])


def _store_by_beam(
    values: argparse.Namespace,
    options: PipelineOptions,
    named: tuple[Start, Recipe],
    teacher: Teacher,
    images: Split,
) -> int:
    """Store the maps on Beam's workers, each of which makes the teacher of ``named`` anew."""
    scale, folder, like = fcam_tf.scale, Path(values.out), images.subset([])
    claimed = fcam_tf.training.cam_store.claimed(teacher, images, folder, compare=values.dry_run)
    with claimed as settings:
        with usage_errors(ValueError):  # of the flag
            blocks = scale.blocks.plan_blocks(images, folder, values.shard_size)
        store, places = scale.store.Store(values.out), scale.store.places_of(blocks)
        load = partial(_teacher_of, *named, like)
        handler = scale.storing.StoreHandler(load, like, folder, settings)
        missing = sum(len(block.rows) for block in blocks)
        note(f"{len(images)} photos, {missing} of them to do in {len(blocks)} shards")
        if values.dry_run:
            scale.storing.build(options, store, places, handler, local=True).to_runner_api()
            name = scale.pipeline.runner_name(options)
            note(f"the pipeline for {name} is valid; nothing was run")
            return 0
        if blocks:
            scale.blocks.make_file(teacher, len(images), folder)
            store.write(scale.store.PLAN, b"".join(block.line() for block in blocks))
            try:
                scale.pipeline.run(scale.storing.build(options, store, places, handler))
            except (ValueError, TypeError, RuntimeError, OSError) as error:
                return failed(beam.cause(error), values)
            finally:
                store.remove(scale.store.PLAN)
        if left := scale.blocks.plan_blocks(images, folder):
            count = sum(len(block.rows) for block in left)
            warn(f"{count} maps are missing; the same command makes them")
            return 1
        return 0


def _teacher_of(start: Start, recipe: Recipe, like: Split) -> Teacher:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # who started the job has told it
        return fcam_tf.training.teacher_of(start, recipe, like)[0]

"""The same on many workers, by Apache Beam: flags of it, and ``fcam localize --runner beam``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import Parser, flag_of, given, positive
from fcam_tf.commands.model import Model, load_named
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import failed, note, reason_of, usage_errors, warn

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from fcam_tf.predict import Failure, LocalizeSettings
    from fcam_tf.scale.inputs import Plan, Shard
    from fcam_tf.scale.store import Store

# What makes files of photos, or reads them again.
_OF_ONE_MACHINE = (
    *("overlay", "mask", "crops", "cutouts", "annotations", "table", "report", "single_file"),
    *("open", "fps"),
)
_OF_BEAM = ("beam_option", "shard_size", "dry_run")
# A line such as "a.b.SomeError: what is wrong [while running 'Store/RunInference']".
_OF_A_WORKER = r"(?:(?:\w+\.)*(\w+Error): )?(.*?)(?: \[while running '.*'\])?"
_SHOWN = 20  # failures; the others are in the files only


def add_runner(parser: Parser, shard: str) -> None:
    """Add the flags that say what runs a job.

    Args:
        parser: what to add to.
        shard: what ``--shard-size`` means.
    """
    text = 'local: this machine; beam: Apache Beam (needs the extra "beam"), see docs/scale.md'
    parser.add("--runner local|beam", text, default="local")
    text = "option of Beam, such as runner=DataflowRunner or direct_num_workers=2"
    parser.add("--beam-option KEY=VALUE...", text)
    parser.add("--shard-size N", shard, type=positive, default=256)
    text = "list the photos, check the options and build Beam's pipeline, but run nothing"
    parser.add("--dry-run", text)


def check_runner(values: argparse.Namespace, others: Iterable[str] = ()) -> bool:
    """Tell whether Beam is meant; refuse flags that mean nothing then.

    Args:
        values: the arguments.
        others: those that mean nothing to Beam.

    Raises:
        absl.app.UsageError: a flag of the other runner is given.
    """
    beam = values.runner == "beam"
    if wrong := given(values, others if beam else _OF_BEAM):
        flags = ", ".join(map(flag_of, wrong))
        raise app.UsageError(f"--runner {values.runner} takes no {flags}; leave it out")
    return beam


def check_flags(values: argparse.Namespace) -> bool:
    """Tell whether Beam is meant; refuse flags that mean nothing then.

    Raises:
        absl.app.UsageError: a flag of the other runner is given, or maps would be too large.
    """
    beam = check_runner(values, _OF_ONE_MACHINE)
    if beam and values.heatmap == "npy":
        raise app.UsageError("--runner beam keeps maps in its tables; leave out --heatmap npy")
    if beam and values.refine and values.heatmap != "none":
        raise app.UsageError(
            "--refine makes maps at the photo's own resolution, which are too large for the tables "
            "of --runner beam; add --heatmap none"
        )
    return beam


def run(values: argparse.Namespace, model: Model, settings: LocalizeSettings) -> int:
    """Localise shard by shard; return the exit status."""
    scale, options = fcam_tf.scale, options_of(values)
    pipeline = scale.pipeline
    with usage_errors(ValueError, ImportError):
        settings = dataclasses.replace(settings, files=fcam_tf.predict.Files(mask=["rle"]))
    plan = scale.inputs.plan_shards(values.photos, values.exclude, values.shard_size)
    for text in plan.notes:
        note(text)
    _tell(plan.failures)
    store, maps = scale.store.Store(values.out), values.heatmap != "none"
    handler = pipeline.LocalizeHandler(
        partial(load_named, values.model, model.sha256, tuple(values.imports)),
        settings,
        batch_size=values.batch_size,
        maps=maps,
    )
    deciding = {
        **{k: v for k, v in dataclasses.asdict(settings).items() if k not in ("model", "files")},
        "maps": maps,
        "shard_size": values.shard_size,
        "inputs": values.photos,
        "exclude": values.exclude,
    }
    with (
        usage_errors(fcam_tf.predict.SettingsChangedError),
        store.claimed(deciding, overwrite=values.overwrite) as claim,
    ):
        todo = claim.todo(plan.shards)
        if values.dry_run:
            pipeline.build(
                options, store, scale.store.places_of(todo), handler, local=True
            ).to_runner_api()
            return _report_plan(plan, todo, pipeline.runner_name(options))
        if not todo:
            return _report(plan, todo, store, {})
        made_with = _made_with(values, model, settings)
        claim.check(made_with, overwrite=values.overwrite)
        places = claim.begin(plan.shards, model=values.model, made_with=made_with)
        try:
            counted = pipeline.run(pipeline.build(options, store, places, handler))
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            return failed(cause(error), values)
        return _report(plan, todo, store, counted)


def options_of(values: argparse.Namespace) -> PipelineOptions:
    """Import Apache Beam, and return its options.

    Raises:
        absl.app.UsageError: it is not installed, or an option is wrong.
    """
    # Remarks on packages for Google's cloud that are not there, and on type hints.
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    logging.disable(logging.WARNING)
    try:
        pipeline = fcam_tf.scale.pipeline
    except ImportError as error:
        raise app.UsageError(
            f"--runner beam needs Apache Beam: pip install 'fcam_tf[beam]' ({error})"
        ) from None
    finally:
        logging.disable(logging.NOTSET)
    with usage_errors(ValueError):
        return pipeline.parse_options(values.beam_option)


def _made_with(
    values: argparse.Namespace, model: Model, settings: LocalizeSettings
) -> dict[str, Any]:
    """Load the model here, too: what is wrong is told before the work, and "auto" is noted."""
    note(f"Loading {values.model} ...")
    with usage_errors(TypeError, ValueError, FileNotFoundError), quiet_tensorflow():
        localizer, labels = settings.localizer(model.load())
    note(f"maps of {localizer.told}, threshold {localizer.threshold}")
    made = {name: getattr(localizer, name) for name in ("method", "layer", "threshold")}
    if localizer.share:
        made["share"] = localizer.share
    return {**made, "label": labels}


def _report_plan(plan: Plan, todo: list[Shard], runner: str) -> int:
    photos = sum(len(shard.entries) for shard in plan.shards)
    records = sum(not shard.entries for shard in plan.shards)
    counts = [f"{photos} photos"] + [f"{records} TFRecord files"] * bool(records)
    note(
        f"{' and '.join(counts)} in {len(plan.shards)} shards, "
        f"{len(plan.shards) - len(todo)} of them done before"
    )
    note(f"the pipeline for {runner} is valid; nothing was run")
    return 1 if plan.failures else 0


def _report(plan: Plan, todo: list[Shard], store: Store, counted: dict[str, int]) -> int:
    """Tell what came out; return the exit status."""
    names = store.names()
    missing = [
        shard for shard in plan.shards if f"{shard.name}{fcam_tf.scale.store.ROWS}" not in names
    ]
    failures = [
        fcam_tf.predict.Failure(**each) for shard in todo for each in _failures(store, shard, names)
    ]
    _tell(failures)
    counts = [f"{counted['photos']} localised"] if "photos" in counted else []
    counts += [f"{len(todo) - len(missing)} shards done"]
    before = len(plan.shards) - len(todo)
    counts += [f"{before} done before"] if before else []
    failed_ = len(failures) + len(plan.failures)
    counts += [f"{failed_} failed"] if failed_ else []
    note(f"{', '.join(counts)}; results in {store.address}")
    if missing:
        warn(f"{len(missing)} shards are missing; the same command makes them")
    return 1 if failed_ or missing else 0


def _failures(store: Store, shard: Shard, names: set[str]) -> list[dict[str, str]]:
    file = f"{shard.name}{fcam_tf.scale.store.FAILURES}"
    return [*map(json.loads, store.read(file).splitlines())] if file in names else []


def _tell(failures: Iterable[Failure]) -> None:
    every = list(failures)
    for failure in every[:_SHOWN]:
        warn(fcam_tf.scale.shards.told(failure))
    if len(every) > _SHOWN:
        warn(f"and {len(every) - _SHOWN} more")


def cause(error: BaseException) -> Exception:
    """Return what went wrong on a worker, without its traceback, as an error of this machine."""
    from fcam_tf.data.split import BrokenPhotoError  # noqa: PLC0415 - help does without

    lines = [line for line in reason_of(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith((" ", "\t", "Traceback"))]
    text = (said or lines or [type(error).__name__])[-1].strip()
    kind, text = re.fullmatch(_OF_A_WORKER, text).groups()  # type: ignore[union-attr]
    broken = isinstance(error, BrokenPhotoError) or kind == BrokenPhotoError.__name__
    return BrokenPhotoError(text) if broken else RuntimeError(text)

"""The pipeline of Apache Beam: shards of the plan in, files of results out."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import io
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from fcam_tf.predict.outputs import LocalizeSettings
from fcam_tf.scale.inputs import Shard
from fcam_tf.scale.shards import Localized, localize_shard
from fcam_tf.scale.store import Place, Store

if TYPE_CHECKING:
    import keras

    from fcam_tf.predict.localizer import Localizer

NAMESPACE = "fcam"
_SIGNAL = signal.SIGUSR1  # wakes the main thread; SIGINT is ignored in the background of a shell
_WORKER_THREAD = "run_worker"  # Beam's, each of which waits for a process
_LOCAL = ("DirectRunner", "FnApiRunner")


@dataclasses.dataclass
class _Loaded:
    localizer: Localizer
    labels: list[int]


class LocalizeHandler(ModelHandler[Shard, Localized, _Loaded]):
    """Beam's way to a model: loaded once by a process, and given one shard after the other.

    Args:
        load: returns the model; a function of a module, or a `functools.partial` of one.
        settings: how it is to localise.
        batch_size: photos for one call of the model.
        maps: whether heat maps are kept.
    """

    def __init__(
        self,
        load: Callable[[], keras.Model],
        settings: LocalizeSettings,
        *,
        batch_size: int = 8,
        maps: bool = True,
    ) -> None:
        # Batches of photos are made within a shard, and so do not depend on Beam's bundles.
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load, self._settings = load, settings
        self._batch_size, self._maps = batch_size, maps

    def load_model(self) -> _Loaded:
        return _Loaded(*self._settings.localizer(self._load()))

    def run_inference(
        self, batch: Sequence[Shard], model: _Loaded, _: dict[str, Any] | None = None
    ) -> list[Localized]:
        return [
            localize_shard(
                shard,
                model.localizer,
                model.labels,
                self._settings,
                batch_size=self._batch_size,
                maps=self._maps,
            )
            for shard in batch
        ]

    def get_metrics_namespace(self) -> str:
        return NAMESPACE


def parse_options(given: Sequence[str]) -> PipelineOptions:
    """Read options of Beam, and hold them to what it knows.

    Args:
        given: "KEY=VALUE", or "KEY" of a switch; ``runner`` is Beam's local one if it is not given.

    Raises:
        ValueError: an option is unknown, has no such value, or one that its runner needs is
            missing.
    """
    flags = [f"--{option.lstrip('-')}" for option in given]
    known: list[str] = []

    def note_known(parser: Any) -> None:
        known.extend(name for action in parser._actions for name in action.option_strings)  # noqa: SLF001
        parser.exit_on_error = False

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions(flags)
            options.get_all_options(add_extra_args_fn=note_known)
    except (SystemExit, argparse.ArgumentError) as error:
        reason = said.getvalue().strip().rpartition("error: ")[2] or error
        raise ValueError(f"`beam_option` is wrong: {reason}") from None
    for flag in flags:
        name = flag.partition("=")[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"; did you mean {' or '.join(each[2:] for each in near)}?" if near else ""
            raise ValueError(f"`beam_option` is unknown to Apache Beam: {name[2:]!r}{hint}")
    runner = runner_name(options)
    # The validator knows runners by the names of their classes, which may not be installed here.
    named = type(runner, (), {"get_default_gcp_region": lambda _: None})()
    wrong = [] if runner in _LOCAL else PipelineOptionsValidator(options, named).validate()
    if wrong:
        raise ValueError(f"`beam_option` does not fit {runner}: {' '.join(wrong)}")
    return options


def runner_name(options: PipelineOptions) -> str:
    """Return the name of the runner that options choose."""
    return options.view_as(StandardOptions).runner or _LOCAL[0]


def build(
    options: PipelineOptions,
    store: Store,
    places: Sequence[Place],
    handler: LocalizeHandler,
    *,
    local: bool = False,
) -> beam.Pipeline:
    """Build the pipeline for some shards of the plan in a folder; nothing is run.

    Args:
        options: of `parse_options`.
        store: the folder.
        places: of the shards.
        handler: the model.
        local: take the local runner in any case; that of the options may need packages of its own.
    """
    pipeline = begun(options, local=local)
    _ = (
        pipeline
        | "Shards" >> beam.Create(list(places))
        | "Read" >> beam.Map(store.shard)
        | "Localise" >> RunInference(handler)
        | "Write" >> beam.Map(_write, store)
    )
    return pipeline


def begun(options: PipelineOptions, *, local: bool = False) -> beam.Pipeline:
    """Return an empty pipeline.

    It gets Beam's local runner where the options name none or DirectRunner, which would look in the
    web for Prism, a program of its own, and otherwise take the local one, too.

    Args:
        options: of `parse_options`.
        local: see `build`.
    """
    local = local or runner_name(options) in _LOCAL
    return beam.Pipeline(runner=FnApiRunner() if local else None, options=options)


def _write(found: Localized, store: Store) -> None:
    found.write(store)
    Metrics.counter(NAMESPACE, "photos").inc(found.photos)
    Metrics.counter(NAMESPACE, "failures").inc(len(found.failures))


class WorkerLostError(RuntimeError):
    """A worker of the local runner has ended, as by a kill or for want of memory."""


def run(pipeline: beam.Pipeline) -> dict[str, int]:
    """Run a pipeline to its end; in the main thread.

    Returns:
        How many "photos" were localised, and how many "failures" there were, as far as the runner
        tells it.

    Raises:
        WorkerLostError: see there. Beam's local runner itself would wait for the worker for ever.
        Exception: whatever a worker raised.
    """
    main = threading.main_thread().ident or 0

    def give_up(*_: object) -> None:
        raise WorkerLostError("a worker was lost; it was killed, or memory ran out")

    def note_loss(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != _WORKER_THREAD:
            hook(args)
            return
        signal.pthread_kill(main, _SIGNAL)

    hook, threading.excepthook = threading.excepthook, note_loss
    handler = signal.signal(_SIGNAL, give_up)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    finally:
        signal.signal(_SIGNAL, handler)
        threading.excepthook = hook
    return dict(_counts(result))


def _counts(result: Any) -> Iterator[tuple[str, int]]:
    for name in ("photos", "failures"):
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE).with_name(name))[
            "counters"
        ]
        if found:
            yield name, sum(each.result for each in found)

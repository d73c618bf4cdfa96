"""The pipeline of Apache Beam that stores the maps of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference

from fcam_tf.claim import changes
from fcam_tf.scale.blocks import Block, store_block
from fcam_tf.scale.pipeline import NAMESPACE, begun
from fcam_tf.scale.store import PLAN, Place, Store

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from fcam_tf.data import Split
    from fcam_tf.training.cam_store import Teacher


class StoreHandler(ModelHandler[Block, int, "Teacher"]):
    """Beam's way to a teacher: loaded once by a process, and given one block after the other.

    Args:
        load: returns the teacher; a function of a module, or a `functools.partial` of one.
        like: the split, without its photos.
        folder: of the maps, the same for all workers.
        settings: what it is of.
    """

    def __init__(
        self, load: Callable[[], Teacher], like: Split, folder: Path, settings: dict[str, Any]
    ) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load, self._like, self._folder, self._settings = load, like, folder, settings

    def load_model(self) -> Teacher:
        teacher = self._load()
        known = {name: self._settings.get(name) for name in teacher.settings}
        if changed := changes(known, teacher.settings):
            raise ValueError(
                f"The teacher is another on this worker: {', '.join(map(str, changed))}"
            )
        return teacher

    def run_inference(
        self, batch: Sequence[Block], model: Teacher, _: dict[str, Any] | None = None
    ) -> list[int]:
        return [
            store_block(block, model, self._like, self._folder, self._settings) for block in batch
        ]

    def get_metrics_namespace(self) -> str:
        return NAMESPACE


def build(
    options: PipelineOptions,
    store: Store,
    places: Sequence[Place],
    handler: StoreHandler,
    *,
    local: bool = False,
) -> beam.Pipeline:
    """Build the pipeline for the blocks of the plan in a folder; nothing is run.

    Args:
        options: of `parse_options`.
        store: the folder.
        places: of the blocks.
        handler: the teacher.
        local: see `fcam_tf.scale.pipeline.build`.
    """
    pipeline = begun(options, local=local)
    _ = (
        pipeline
        | "Blocks" >> beam.Create(list(places))
        | "Read" >> beam.Map(_block, store)
        | "Store" >> RunInference(handler)
        | "Count" >> beam.Map(_count)
    )
    return pipeline


def _block(place: Place, store: Store) -> Block:
    return Block.from_line(store.read(PLAN, place.start, place.end))


def _count(photos: int) -> None:
    Metrics.counter(NAMESPACE, "photos").inc(photos)

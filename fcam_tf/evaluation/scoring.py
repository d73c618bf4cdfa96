"""The loop: images through the source of maps, maps through the metrics, results to disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fcam_tf.data import evaluation_dataset
from fcam_tf.data.pipeline import read_image
from fcam_tf.data.split import Split
from fcam_tf.evaluation.parts import Parts, Scored
from fcam_tf.evaluation.scores import score_map
from fcam_tf.evaluation.sources import FRAME, MapSource
from fcam_tf.evaluation.truth import read_truth
from fcam_tf.graphs.resize import bilinear
from fcam_tf.metrics.localization import class_rank
from fcam_tf.predict.lookahead import lookahead

PART = 32  # images


class _Answer(NamedTuple):
    """What the source says of one image."""

    index: int
    heatmap: NDArray
    rank: int
    predicted: int
    confidence: float


def score_split(
    source: MapSource,
    split: Split,
    parts: Parts,
    *,
    explain_truth: bool = True,
    batch_size: int = 32,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Scores what ``parts`` does not hold yet, and adds it there as it comes.

    Images are read ahead while the source works, and maps are scored in threads meanwhile.

    Args:
        source: of the maps.
        split: the images and their truth.
        parts: where results go.
        explain_truth: True: maps of the true class; False: of the predicted one.
        batch_size: images for one call of the source.
        advance: called after each image.

    Raises:
        TypeError, ValueError: an image, its map or its truth cannot be used; the message names the
            image. What came before it is kept.
        OSError: a file cannot be read or written.
    """
    todo = parts.todo()
    threads = os.cpu_count() or 1

    def score(answer: _Answer) -> Scored:
        name = split.ids[answer.index]
        scores = score_map(answer.heatmap, read_truth(split, answer.index, FRAME), name)
        return Scored(answer.index, scores, answer.rank, answer.predicted, answer.confidence)

    failures: list[BaseException] = []

    def answers() -> Iterator[_Answer]:
        # What was answered before a failure is still under way in threads: it is kept first.
        try:
            yield from _answers(
                source, split, todo, explain_truth=explain_truth, batch_size=batch_size
            )
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    waiting: list[Scored] = []
    with ThreadPoolExecutor(threads) as executor:
        try:
            for scored in lookahead(executor, score, answers(), ahead=max(batch_size, 2 * threads)):
                if waiting and (len(waiting) == PART or scored.index != waiting[-1].index + 1):
                    parts.save(waiting)
                    waiting = []
                waiting.append(scored)
                advance()
        finally:
            if waiting:
                parts.save(waiting)
    if failures:
        raise failures[0]


def _answers(
    source: MapSource, split: Split, todo: Sequence[int], *, explain_truth: bool, batch_size: int
) -> Iterator[_Answer]:
    comparable = same_classes(source, split)
    for indices, images in _batches(source, split, todo, batch_size):
        ids = [split.ids[i] for i in indices]
        labels = split.labels[indices]
        maps, logits = source(ids, images, labels if explain_truth else None)
        maps = _full_size(maps)
        rank = predicted = np.full(len(ids), -1)
        confidence = np.full(len(ids), np.nan)
        if logits is not None:
            bad = ~np.isfinite(logits).all(axis=1)
            if bad.any():
                raise ValueError(
                    f"the class scores of {ids[int(bad.argmax())]} are not finite; "
                    "the model's weights are damaged"
                )
            predicted, confidence = logits.argmax(axis=1), _softmax(logits).max(axis=1)
            if comparable:
                rank = class_rank(labels, logits, len(ids))
        for row in zip(indices, maps, rank, predicted, confidence, strict=True):
            yield _Answer(*row)


def same_classes(source: MapSource, split: Split) -> bool:
    """Whether a source's class scores are those of the data set's classes.

    Their number decides, and the names where both are known.
    """
    if source.num_classes != len(split.class_names):
        return False
    if source.class_names is None or all(name.isdecimal() for name in split.class_names):
        return True
    own, wanted = (
        [_plain(name) for name in names] for names in (source.class_names, split.class_names)
    )
    return own == wanted


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


def _batches(
    source: MapSource, split: Split, todo: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Indices and images; no image is decoded for a source that does not look at any."""
    chunks = [list(todo[i : i + batch_size]) for i in range(0, len(todo), batch_size)]
    if source.image_size is None or not todo:
        yield from ((chunk, None) for chunk in chunks)
        return
    rest = split.subset(todo)
    dataset = evaluation_dataset(rest, batch_size=batch_size, size=source.image_size)
    batches = iter(dataset)
    for chunk in chunks:
        try:
            images, _ = next(batches)
        except tf.errors.OpError as error:
            raise ValueError(_culprit(split, chunk, error)) from None
        yield chunk, images


def _culprit(split: Split, indices: Sequence[int], error: tf.errors.OpError) -> str:
    for index in indices:
        try:
            read_image(split.paths[index])
        except tf.errors.OpError as reason:
            first_line = reason.message.splitlines()[0]
            return f"image {split.ids[index]} ({split.paths[index]}): {first_line}"
    return f"images {split.ids[indices[0]]} to {split.ids[indices[-1]]}: {error.message}"


def _full_size(maps: Any) -> Any:
    """Maps in the benchmark's frame, bilinear with half-pixel centres."""
    if isinstance(maps, list) or tuple(maps.shape[1:]) == (FRAME, FRAME):
        return maps if isinstance(maps, list | np.ndarray) else np.asarray(maps)
    scaled = bilinear(maps[..., None], (FRAME, FRAME))[..., 0]
    return np.clip(np.asarray(scaled), 0, 1)  # rounding may leave [0, 1] by a unit


def _softmax(logits: NDArray) -> NDArray[np.float64]:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return exponent / exponent.sum(axis=1, keepdims=True)

"""The loop: images through the source of maps, maps through the metrics, results to disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fcam_tf.cams import probabilities
from fcam_tf.data.split import Split
from fcam_tf.evaluation.explanation import explanations
from fcam_tf.evaluation.measured import ExplanationSettings
from fcam_tf.evaluation.parts import Parts
from fcam_tf.evaluation.scores import Scored, read_truth, score_map
from fcam_tf.evaluation.sources import FRAME, SCALINGS, MapSource
from fcam_tf.graphs.resize import resize
from fcam_tf.metrics import normalize_cam, pointing_game
from fcam_tf.metrics.max_box_acc import class_rank
from fcam_tf.streams import lookahead

PART = 32  # images


def score_split(
    source: MapSource,
    split: Split,
    parts: Parts,
    *,
    advance: Callable[[], None] = lambda: None,
    **options: Any,
) -> None:
    """Adds to ``parts`` what it lacks, also where ``score_images`` with these options fails.

    ``advance`` is called after each image.
    """
    waiting: list[Scored] = []
    try:
        for scored in score_images(source, split, parts.todo(), **options):
            if waiting and (len(waiting) == PART or scored.index != waiting[-1].index + 1):
                parts.save(waiting)
                waiting = []
            waiting.append(scored)
            advance()
    finally:
        if waiting:
            parts.save(waiting)


def score_images(
    source: MapSource,
    split: Split,
    indices: Sequence[int] | None = None,
    *,
    explain_truth: bool = True,
    batch_size: int = 32,
    frame: int = FRAME,
    scaling: str = SCALINGS[0],
    explanation: ExplanationSettings | None = None,
) -> Iterator[Scored]:
    """Yields the results of one image after the other.

    Images are read ahead while the source works, and maps are scored in threads meanwhile. Where
    an image fails, the results of those before it are yielded first.

    Args:
        source: of the maps.
        split: the images and their ground truth.
        indices: of the images, ascending; None for all.
        explain_truth: take maps of the true class, not of the predicted one.
        batch_size: images for one call of the source.
        frame: side of the square in which maps are scored, in pixels.
        scaling: how coarse maps get there, see ``EvaluationSettings``.
        explanation: the numbers by which the maps are measured as explanations of a model, too;
            None leaves it. The source must be ``ModelMaps``.

    Raises:
        TypeError, ValueError: an image, its map or its ground truth is malformed; the message
            names the image.
        OSError: a file cannot be read.
    """
    todo = range(len(split)) if indices is None else indices
    threads = os.cpu_count() or 1

    def score(answer: tuple[Any, dict[str, Any]]) -> Scored:
        heatmap, known = answer
        truth = read_truth(split, known["index"], frame)
        if explanation:
            known["explanation"]["pointing"] = float(pointing_game(heatmap, **truth))
        return score_map(heatmap, truth, split.ids[known["index"]], **known)

    def answers() -> Iterator[tuple[Any, dict[str, Any]]]:
        for batch in _batches(source, split, todo, batch_size):
            yield from _answers(
                source,
                split,
                *batch,
                explain_truth=explain_truth,
                frame=frame,
                scaling=scaling,
                explanation=explanation,
            )

    with ThreadPoolExecutor(threads) as executor:
        yield from lookahead(executor, score, answers(), ahead=max(batch_size, 2 * threads))


def _answers(
    source: MapSource,
    split: Split,
    indices: Sequence[int],
    images: Any,
    *,
    explain_truth: bool,
    frame: int,
    scaling: str,
    explanation: ExplanationSettings | None,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What the source says of a batch: each image's map, and what is ``known`` of its classes."""
    ids = [split.ids[i] for i in indices]
    labels = split.labels[indices]
    maps, logits = source(ids, images, labels if explain_truth else None)
    rank = predicted = np.full(len(ids), -1)
    confidence = np.full(len(ids), np.nan)
    if logits is not None:
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            raise ValueError(
                f"the class scores of {ids[int(bad.argmax())]} are not finite; "
                "the model's weights are damaged"
            )
        predicted = logits.argmax(axis=1)
        activation: Any = getattr(source, "activation", "softmax")
        confidence = np.asarray(probabilities(logits.astype(np.float64), activation)).max(axis=1)
        if split.has_classes(source.num_classes, source.class_names):
            rank = class_rank(labels, logits, len(ids))
    measured: list[dict[str, Any]] = [{} for _ in ids]
    if explanation:
        classes = labels if explain_truth else predicted
        measured = explanations(source, explanation, indices, images, maps, classes)
    names = ("index", "rank", "predicted", "confidence", "explanation")
    columns = (indices, rank.tolist(), predicted.tolist(), confidence.tolist(), measured)
    known = zip(*columns, strict=True)
    for heatmap, values in zip(_scaled(maps, frame, scaling), known, strict=True):
        yield heatmap, dict(zip(names, values, strict=True))


def _batches(
    source: MapSource, split: Split, todo: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Indices and images; no image is decoded for a source that does not look at any."""
    chunks = [list(todo[i : i + batch_size]) for i in range(0, len(todo), batch_size)]
    if source.image_size is None or not todo:
        yield from ((chunk, None) for chunk in chunks)
        return
    from fcam_tf.data import evaluation_dataset, naming_photos  # noqa: PLC0415 - TensorFlow

    rest = split.subset(todo)
    batches = iter(evaluation_dataset(rest, batch_size=batch_size, size=source.image_size))
    for chunk in chunks:
        with naming_photos(rest):
            images, _ = next(batches)
        yield chunk, images


def _scaled(maps: Any, frame: int, scaling: str) -> Any:
    """Maps in the frame, with half-pixel centres; those of files are there already."""
    if isinstance(maps, list):
        return maps
    if scaling == "bicubic":
        # That they are min-maxed already does not matter: the weights of the cubic add up to one.
        return [normalize_cam(heatmap, (frame, frame)) for heatmap in np.asarray(maps)]
    if tuple(maps.shape[1:]) == (frame, frame):
        return np.asarray(maps)
    scaled = resize(maps[..., None], (frame, frame))[..., 0]
    return np.clip(np.asarray(scaled), 0, 1)  # rounding may leave [0, 1] by a unit

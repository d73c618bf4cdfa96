"""Is an explanation any good? What `fcam_tf.metrics` measures of a model's maps, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fcam_tf import metrics
from fcam_tf.evaluation.measured import CURVES, ExplanationSettings
from fcam_tf.graphs.resize import resize

if TYPE_CHECKING:
    from fcam_tf.data.split import Split


def explanations(  # noqa: PLR0917 - what is explained, as a whole
    source: Any,
    numbers: ExplanationSettings,
    indices: Sequence[int],
    images: Any,
    maps: Any,
    labels: NDArray,
) -> list[dict[str, Any]]:
    """What ``measured.EXPLANATION`` needs of each image of a batch, but for the pointing game.

    Args:
        source: of the maps and scores, ``ModelMaps``.
        numbers: see there.
        indices: of the images in their split; their noise depends on it, not on the batch.
        images: (B, H, W, C).
        maps: (B, h, w) of the source.
        labels: (B,) the classes explained.

    Returns:
        For each image its columns of results.csv, and its ``CURVES``.
    """
    images, seeds = np.asarray(images, np.float32), [(numbers.seed, i) for i in indices]

    def make_maps(images: Any, labels: Any) -> Any:
        return source.function(images, labels)[0]

    def sized(maps: Any) -> NDArray:
        scaled = resize(np.asarray(maps)[..., None], images.shape[1:3])[..., 0]
        return np.clip(np.asarray(scaled), 0, 1)

    explained = (source.scores, images, maps := sized(maps), labels)
    deleted = metrics.deletion_curve(*explained, steps=numbers.steps)
    inserted = metrics.insertion_curve(*explained, steps=numbers.steps)
    seen = metrics.masked(images, maps)
    after = metrics.perturbation.score_all(source.scores, zip(seen, labels, strict=True))
    drop = metrics.average_drop(deleted[:, 0], after)
    morf, lerf = metrics.road_curves(*explained, fractions=numbers.fractions, seeds=seeds)
    options = {"samples": numbers.samples, "radius": numbers.radius, "seeds": seeds}
    columns = {
        "deletion": metrics.area(deleted),
        "insertion": metrics.area(inserted),
        "drop": drop,
        "increase": metrics.increase_in_confidence(deleted[:, 0], after),
        "adcc": metrics.adcc(drop, maps, sized(make_maps(seen, labels))),
        "road": metrics.road_score(morf, lerf),
        "sensitivity": metrics.maximal_sensitivity(make_maps, images, labels, **options),
        **dict(zip(CURVES, (deleted, inserted, morf, lerf), strict=True)),
    }
    return [{name: values[i] for name, values in columns.items()} for i in range(len(images))]


def randomised(
    source: Any, numbers: ExplanationSettings, split: Split, labels: NDArray
) -> dict[str, Any]:
    """How alike maps of the first photos stay while the model becomes random, for metrics.json.

    ``source`` are ``ModelMaps``, ``labels`` are the classes explained, of all images of the split.
    """
    from fcam_tf.data import evaluation_dataset, naming_photos  # noqa: PLC0415 - TensorFlow

    count = min(numbers.photos, len(split))
    first = split.subset(range(count))
    with naming_photos(first):
        images, _ = next(iter(evaluation_dataset(first, batch_size=count, size=source.image_size)))
    stages = dict(metrics.stages_from_head(source.explained, numbers.stages))
    ranks, ssims = metrics.randomisation(
        lambda images, labels: source.function(images, labels)[0],
        np.asarray(images),
        labels[:count],
        list(stages.values()),
        seed=numbers.seed,
    )
    return {
        "photos": count,
        "layers": list(stages),
        "rank_correlation": np.round(ranks.mean(axis=1), 6).tolist(),
        "ssim": np.round(ssims.mean(axis=1), 6).tolist(),
    }

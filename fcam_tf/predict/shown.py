"""Which classes an image is said to show, and where each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.localization import Localization
from fcam_tf.names import FCAM_MAP

if TYPE_CHECKING:
    from fcam_tf.predict.localizer import Localizer

SHOWN = 0.5  # the probability from which on a class that has one by itself counts as shown


def localize_shown(
    localizer: Localizer, images: Any, label: int | None = None
) -> list[Localization]:
    """Localise what each image of a batch shows.

    That is one class, the given or the predicted one, unless each class has a probability by itself
    (a sigmoid) and none is given: then it is every class whose probability is at least `SHOWN`, or
    the most probable one. Each class but the first costs a pass through the model; the map of a
    decoder, which shows the object whatever its class, is made once.

    Args:
        localizer: model, method and threshold.
        images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
        label: the class to localise, or None.

    Returns:
        For each image a localisation with an entry for each class, the most probable first.

    Raises:
        ValueError: see `Localizer`.
    """
    best = localizer(images, label)
    if label is not None or localizer.activation != "sigmoid":
        return [best[i : i + 1] for i in range(len(best))]
    classes = [_shown(probabilities) for probabilities in best.probabilities]
    images_of = np.repeat(np.arange(len(best)), [len(each) for each in classes])
    labels = np.concatenate(classes)
    if localizer.method == FCAM_MAP:
        found = best[images_of].of_labels(labels)
    else:
        rest = np.flatnonzero(labels != best.labels[images_of])
        others = _localized(localizer, images, images_of[rest], labels[rest])
        place = images_of.copy()  # of each entry among those of the best and of the other classes
        place[rest] = len(best) + np.arange(len(rest))
        found = Localization.joined([best, *others])[place]
    ends = np.cumsum([len(each) for each in classes])
    return [found[end - len(each) : end] for end, each in zip(ends, classes, strict=True)]


def _shown(probabilities: np.ndarray) -> np.ndarray:
    order = np.argsort(-probabilities, kind="stable")
    return order[: max(1, np.count_nonzero(probabilities >= SHOWN))]


def _localized(
    localizer: Localizer, images: Any, chosen: np.ndarray, labels: np.ndarray
) -> list[Localization]:
    """Localise labels in chosen images, in batches of one size: another would be traced anew."""
    size, found = len(images), []
    for start in range(0, len(chosen), size):
        part = np.arange(start, min(start + size, len(chosen)))
        full = np.resize(part, size)
        found.append(localizer(images[chosen[full]], labels[full])[: len(part)])
    return found

"""Which classes are requested of an image or shown in it, and where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.localization import Localization
from fcam_tf.names import FCAM_MAP

if TYPE_CHECKING:
    from fcam_tf.predict.localizer import Localizer

SHOWN = 0.5  # the probability from which on a class that has one by itself counts as shown


def localize_shown(
    localizer: Localizer, images: Any, labels: Sequence[int] = (), top: int | None = None
) -> list[Localization]:
    """Localise the requested classes in each image of a batch, or those that it shows.

    If no classes are requested, this is the predicted class. For independent probabilities
    (sigmoids) it is every class whose probability is at least `SHOWN`, or else the most probable
    one. Each class after the first costs a pass through the model. A decoder's map is made once: it
    shows the object, whatever its class. If classes are requested, or several are shown, each gets
    a map of its own, see `fcam_tf.models.inference.of_classes`.

    Args:
        localizer: model, method and threshold.
        images: (B, H, W, 3) raw RGB in [0, 255], uint8 or float.
        labels: the classes to localise in each image; if empty, ``top`` decides.
        top: how many of the most probable classes to localise; None localises those that the image
            shows.

    Returns:
        For each image, a localisation with an entry for each class, in the order of ``labels``, or
        else the most probable first.

    Raises:
        ValueError: see `Localizer`.

    Examples:
        >>> localizer = fcam_tf.predict.Localizer(model)
        >>> each = fcam_tf.predict.localize_shown(localizer, images, top=3)  # of each image
        >>> each[0].boxes.shape  # of each class
        (3, 4)
    """
    decoder = localizer.method == FCAM_MAP
    best = (
        localizer.unrefined()(images)
        if decoder
        else localizer(images, labels[0] if labels else None)
    )
    classes = _classes(best, labels, top, several=localizer.activation == "sigmoid")
    rows = np.repeat(np.arange(len(best)), [len(each) for each in classes])
    wanted = np.concatenate(classes)
    if decoder:
        own = np.array([bool(labels or top) or len(classes[row]) > 1 for row in rows])
        found = _of_decoder(localizer, best, images, rows, wanted, own=own)
    else:
        rest = np.flatnonzero(wanted != best.labels[rows])
        others = _localized(localizer, images, rows[rest], wanted[rest])
        place = rows.copy()  # of each entry among those of the best and of the other classes
        place[rest] = len(best) + np.arange(len(rest))
        found = Localization.joined([best, *others])[place]
    ends = np.cumsum([len(each) for each in classes])
    return [found[end - len(each) : end] for end, each in zip(ends, classes, strict=True)]


def _classes(
    best: Localization, labels: Sequence[int], top: int | None, *, several: bool
) -> list[np.ndarray]:
    """Return the classes to localise in each image."""
    if labels:
        return [np.array(labels)] * len(best)
    shown = np.count_nonzero(best.probabilities >= SHOWN, 1) if several else np.ones(len(best), int)
    orders = np.argsort(-best.probabilities, 1, kind="stable")
    return [order[: top or max(1, n)] for order, n in zip(orders, shown, strict=True)]


def _of_decoder(
    localizer: Localizer,
    best: Localization,
    images: Any,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    own: np.ndarray,
) -> Localization:
    """Give labels of images the decoder's maps, not refined yet, or where ``own`` those of each."""
    from fcam_tf.models import inference  # noqa: PLC0415 - TensorFlow
    from fcam_tf.refine import refine_maps  # noqa: PLC0415

    if not own.any() and not localizer.refine:
        return best[rows].of_labels(labels)
    maps = best.heatmaps[rows]
    if own.any():
        model = localizer.classifier
        maps[own] = inference.of_classes(model, best.heatmaps, images, rows[own], labels[own])
    if localizer.refine:
        maps = refine_maps(maps, images[rows])
    return Localization.from_heatmaps(maps, best.probabilities[rows], labels, localizer.threshold)


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

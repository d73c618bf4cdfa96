"""Measures maps of one asked animal in pictures of two, and of one: how a decoder's are made its.

Two pets stand side by side, or one is pasted, smaller, into a corner of the other's photo. Each is
asked for by the cat or dog of ImageNet that its own photo is taken for; the truth is its mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.measure
from absl import flags
from common import print_table, start
from PIL import Image

from fcam_tf.grey_levels import to_levels
from fcam_tf.localization import OTSU, Localization, threshold_level
from fcam_tf.masks import box_of

_DATA = flags.DEFINE_string("data", "../shared/data/pets3", "pets in the benchmark's layout")
_SPLIT = flags.DEFINE_string("split", "test", "a split with masks")
_MODEL = flags.DEFINE_string("model", "efficientnetlite_b0_layercam", "an F-CAM of ImageNet")

_BATCH, _SIZE, _MOST = 16, (224, 224), 35  # the last is pictures of a kind
_COLUMNS = ("map", "PxAP", "MaxBoxAccV2", "mask IoU", "box IoU >= 0.5")
_CATS, _DOGS = np.arange(281, 288), np.arange(151, 269)


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    how = Image.Resampling.BILINEAR if values.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(values).resize(size, how))


def _side_by_side(first: Any, second: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    widths = [max(1, round(each[1].shape[1] * 256 / each[1].shape[0])) for each in (first, second)]
    left, right = (_resized(e[0], (w, 256)) for e, w in zip((first, second), widths, strict=True))
    one, other = (_resized(e[1], (w, 256)) for e, w in zip((first, second), widths, strict=True))
    return np.hstack([left, right]), [np.hstack([one, 0 * other]), np.hstack([0 * one, other])]


def _pasted(first: Any, second: Any) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Paste the second into the corner where it hides least, if that is at most a tenth."""
    pixels, mask = first[0].copy(), first[1].copy()
    height, width = mask.shape
    x0, y0, x1, y1 = box_of(second[1] == 1)
    scale = 0.45 * min(height / (y1 - y0 + 1), width / (x1 - x0 + 1))
    size = max(1, round((x1 - x0 + 1) * scale)), max(1, round((y1 - y0 + 1) * scale))
    animal, cut = (_resized(each[y0 : y1 + 1, x0 : x1 + 1], size) for each in second[:2])
    tops, lefts = (0, height - size[1]), (0, width - size[0])
    corners = [np.s_[y : y + size[1], x : x + size[0]] for y in tops for x in lefts]
    hidden = [int(((mask[corner] == 1) & (cut == 1)).sum()) for corner in corners]
    if min(hidden) > 0.1 * (mask == 1).sum():
        return None
    corner, own = corners[int(np.argmin(hidden))], np.zeros_like(mask)
    pixels[corner][cut != 0] = animal[cut != 0]
    mask[corner][cut == 1] = 0
    own[corner] = cut
    return pixels, [mask, own]


def _requests(animals: list[Any], breeds: np.ndarray) -> list[tuple[str, Any, Any, int]]:
    """Return kind, pixels, mask and label of each request, from pixels, mask and label of each."""
    order = np.random.default_rng(0).permutation(len(animals))
    of_breed = [order[breeds[order] == breed] for breed in range(3)]
    found: list[Any] = []
    for a, b in ((0, 2), (1, 2), (0, 1)):  # breeds: two of cats, one of dogs
        for n, pair in enumerate(zip(of_breed[a], of_breed[b], strict=False)):
            first, second = (animals[i] for i in (pair if n % 2 else pair[::-1]))
            if first[2] == second[2]:
                continue
            for place, compose in (("side by side", _side_by_side), ("pasted", _pasted)):
                kind = f"{'cat and dog' if b == 2 else 'two cats'}, {place}"
                made = compose(first, second)
                if made and sum(each[0] == kind for each in found) < 2 * _MOST:
                    found += [(kind, made[0], made[1][i], (first, second)[i][2]) for i in (0, 1)]
    return found + [("one animal", *each) for each in animals]


def _ways(model: Any, pixels: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Return the maps (N, 224, 224) of each way, and the threshold that it is used with."""
    from fcam_tf import cams  # noqa: PLC0415 - after the flags were read

    def made(function: Any) -> np.ndarray:
        parts = [slice(i, i + _BATCH) for i in range(0, len(pixels), _BATCH)]
        return np.clip(np.concatenate([function(pixels[p], labels[p]) for p in parts]), 0, 1)

    def region(heatmap: np.ndarray, cam: np.ndarray) -> np.ndarray:
        above = to_levels(heatmap) > threshold_level(heatmap, model.threshold)
        regions = skimage.measure.label(above, connectivity=2)
        found = skimage.measure.regionprops(regions, cam)
        large = [r for r in found if r.area >= 0.01 * regions.size] or found
        return heatmap * (regions == max(large, key=lambda r: r.intensity_mean).label)

    own, decoder = model.threshold, made(lambda images, _: model.localize(images).heatmaps)
    cam = made(cams.get("cam", model.classifier).full_size)
    layercam = made(cams.get("layercam", model.classifier, ["P4", "P5"]).full_size)
    gates = np.stack([to_levels(each) > threshold_level(each, OTSU) for each in cam])
    return {
        "decoder": (decoder, own),
        "LayerCAM of P4, P5": (layercam, OTSU),
        "CAM": (cam, OTSU),
        "decoder x CAM": (decoder * cam, own),
        "smaller of decoder and CAM": (np.minimum(decoder, cam), own),
        "decoder where CAM is above Otsu's": (decoder * gates, own),
        "decoder's region of the highest CAM": (np.stack(list(map(region, decoder, cam))), own),
        "decoder x share (default)": (made(lambda *asked: model.localize(*asked).heatmaps), own),
    }


def _scores(maps: np.ndarray, threshold: Any, truth: list[np.ndarray]) -> tuple[str, ...]:
    from fcam_tf import metrics  # noqa: PLC0415

    boxes = [np.array([box_of(mask != 0)]) for mask in truth]
    pixel, box = metrics.PxAP(), metrics.MaxBoxAccV2()
    pixel.update_state(maps, truth)
    box.update_state(maps, boxes)
    found = Localization.from_heatmaps(maps, np.ones((len(maps), 1)), None, threshold)
    overlaps, hits = [], []
    for mask, own, own_box, true_box in zip(truth, found.masks, found.boxes, boxes, strict=True):
        either = (own | (mask == 1)) & (mask != 255)
        overlaps.append((own & (mask == 1)).sum() / max(1, either.sum()))
        hits.append(own_box[2] >= 0 and metrics.box_iou(own_box[None], true_box)[0, 0] >= 0.5)
    means = (pixel.result(), box.result(), 100 * np.mean(overlaps), 100 * np.mean(hits))
    return tuple(f"{float(mean):.1f}" for mean in means)


def main() -> None:
    """Print the tables."""
    from fcam_tf import data, zoo  # noqa: PLC0415 - after the flags were read

    split, model = data.load_wsol(_DATA.value, _SPLIT.value), zoo.load(_MODEL.value)
    photos = [*map(split.read_pixels, range(len(split)))]
    logits = model.classifier.predict(np.stack([_resized(p, _SIZE) for p in photos]), _BATCH, 0)
    like = [(_CATS, _CATS, _DOGS)[breed] for breed in split.labels]
    labels = [int(c[row[c].argmax()]) for c, row in zip(like, logits, strict=True)]
    animals = [(p, split.read_object(i), labels[i]) for i, p in enumerate(photos)]
    kinds, pixels, masks, asked = zip(*_requests(animals, split.labels), strict=True)
    truth = [_resized(each, _SIZE) for each in masks]
    ways = _ways(model, np.stack([_resized(p, _SIZE) for p in pixels]), np.array(asked))
    for kind in dict.fromkeys(kinds):
        at = [i for i, each in enumerate(kinds) if each == kind]
        rows = [(n, *_scores(m[at], t, [truth[i] for i in at])) for n, (m, t) in ways.items()]
        print_table(f"{kind}: {len(at)} requests", _COLUMNS, rows)


if __name__ == "__main__":
    start(main)

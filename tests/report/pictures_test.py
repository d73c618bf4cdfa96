import dataclasses

import numpy as np
import pytest

from fcam_tf.evaluation.scores import read_truth, score_map
from fcam_tf.report.pictures import (
    PAPER,
    PREDICTED_BOX,
    SIDE,
    TRUE_BOX,
    Thresholds,
    draw_map,
    draw_parts,
)


@pytest.fixture
def split(finished):
    return finished.split


def scores_of(split, index=0, heatmap=None):
    truth = read_truth(split, index, 224)
    return score_map(
        (truth["mask"] == 1).astype(float) if heatmap is None else heatmap, truth, "x", index=index
    )


def share(picture, test):
    red, green, blue = np.moveaxis(np.asarray(picture).astype(int), -1, 0)
    return float(test(red, green, blue).mean())


def reddish(red, green, blue):
    return (red > green + 60) & (red > blue + 60)


def greenish(red, green, blue):
    return (green > red + 60) & (green > blue + 60)


def bluish(red, green, blue):
    return (blue > red + 60) & (blue > green + 60)


def test_parts_have_the_colours_of_the_legend(split):
    truth = read_truth(split, 0, 224)["mask"]
    wanted = (truth == 1).mean()
    cuts = Thresholds(0.5, 0.5)
    found = draw_parts(split, scores_of(split), cuts)
    assert max(found.size) == SIDE
    assert share(found, greenish) == pytest.approx(wanted, abs=0.03)
    missed = draw_parts(split, scores_of(split, heatmap=np.zeros((224, 224))), cuts)
    assert share(missed, reddish) == pytest.approx(wanted, abs=0.03)
    assert share(missed, greenish) == 0
    excess = draw_parts(split, scores_of(split, heatmap=np.ones((224, 224))), cuts)
    assert share(excess, bluish) == pytest.approx((truth == 0).mean(), abs=0.03)
    as_published = draw_parts(split, scores_of(split), cuts, PAPER)
    assert share(as_published, reddish) == pytest.approx(wanted, abs=0.03)


def test_without_masks_what_is_above_the_threshold_is_green(split):
    heatmap = np.zeros((224, 224))
    heatmap[:112] = 0.5
    boxes_only = dataclasses.replace(split, masks=None)
    picture = draw_parts(boxes_only, scores_of(split, heatmap=heatmap), Thresholds(0.5, None))
    assert share(picture, greenish) == pytest.approx(0.5, abs=0.02)


def pixels(picture, colour):
    return int((np.asarray(picture) == colour).all(axis=-1).sum())


def test_both_boxes_are_seen_where_they_coincide(split):
    x0, y0, x1, y1 = read_truth(split, 0, 224)["boxes"][0]
    heatmap = np.zeros((224, 224))
    heatmap[y0:y1, x0:x1] = 1
    picture = draw_map(split, scores_of(split, heatmap=heatmap), 0.5)
    around = 2 * (x1 - x0 + y1 - y0) * SIDE / 224
    assert pixels(picture, TRUE_BOX) > around
    assert pixels(picture, PREDICTED_BOX) > around
    without = draw_map(dataclasses.replace(split, boxes=None), scores_of(split), None)
    assert pixels(without, TRUE_BOX) == pixels(without, PREDICTED_BOX) == 0


def test_a_tiny_true_box_at_the_edge_is_seen(split):
    width, height = split.size(0)
    box = np.array([[width - 1, height // 2, width - 1, height // 2 + 1]])
    tiny = dataclasses.replace(split, boxes=(box, *split.boxes[1:]))
    picture = draw_map(tiny, scores_of(tiny, heatmap=np.ones((224, 224))), 0.5)
    assert pixels(picture, TRUE_BOX) > 50

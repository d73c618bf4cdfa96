import csv
from types import SimpleNamespace

import numpy as np
import pytest

from fcam_tf.metrics import MaxBoxAcc, resize_boxes
from fcam_tf.paper import curves
from fcam_tf.paper.rows import pairs

COLUMNS = {"rows": pairs(["cam"]), "backbones": ["tiny"], "seeds": 1}


@pytest.fixture
def study(study_of, finished, perfect):
    """Return a study whose method is the centre, and whose F-CAM knows the masks."""
    return study_of(finished, perfect)


def points(path, x, y, **where):
    with path.open() as file:
        found = [row for row in csv.DictReader(file) if row.items() >= where.items()]
    return np.array([(row[x], row[y]) for row in found], np.float64).T


def test_the_distribution_is_that_of_the_evaluation(study, finished):
    table, *pictures = curves.activations(study, "fig5", **COLUMNS)
    x, y = points(table, "activation", "fraction", row="CAM*")
    np.testing.assert_allclose(x[:2], [0.0005, 0.0015])
    np.testing.assert_allclose(y, finished.metrics["details"]["activation"], rtol=1e-4)
    assert [file.name for file in pictures] == ["fig5.png", "fig5.pdf"]


def test_localisation_is_the_metric_s_curve(study, finished, perfect):
    table, *pictures = curves.localisation(study, "fig7", **COLUMNS)
    details = finished.metrics["details"]
    x, y = points(table, "threshold", "MaxBoxAcc", row="CAM*", curve="IoU ≥ 0.5")
    np.testing.assert_allclose(x, details["thresholds"])
    np.testing.assert_allclose(y, details["MaxBoxAcc"]["curves"][0], rtol=1e-4)
    # At the other IoUs as the metric counts maps and boxes themselves.
    metric, split = MaxBoxAcc((0.3, 0.7)), finished.split
    for scored in perfect.parts:
        size = split.size(scored.index)
        boxes = resize_boxes(split.boxes[scored.index], size, (224, 224))
        metric.update_state([scored.levels / 255], [boxes])
    for iou, curve in zip((0.3, 0.7), metric.curves(), strict=True):
        where = {"row": "CAM* + F-CAM", "curve": f"IoU ≥ {iou:g}"}
        _, y = points(table, "threshold", "MaxBoxAcc", **where)
        np.testing.assert_allclose(y, curve, rtol=1e-4)
    assert [file.name for file in pictures] == ["fig7-cam.png", "fig7-cam.pdf"]


def test_precision_and_recall_add_up_to_pxap(study, finished):
    table, *_ = curves.precision_recall(study, "fig8", **COLUMNS)
    recall, precision = points(table, "recall", "precision", row="CAM*")
    area = np.sum(precision * np.diff(recall, prepend=0)) / 100
    assert area == pytest.approx(finished.metrics["PxAP"], abs=0.01)


@pytest.mark.parametrize("draw", [curves.activations, curves.localisation, curves.precision_recall])
def test_titles_say_of_how_many_seeds_curves_are(study, monkeypatch, draw):
    titles, real = [], curves.draw_panels

    def noted(*given, title, **options):
        titles.append(title)
        return real(*given, title=title, **options)

    monkeypatch.setattr(curves, "draw_panels", noted)
    draw(study, "fig", **COLUMNS | {"seeds": 2})
    (title,) = titles
    assert ", test, CAM*, 2 seeds: " in title


def test_what_the_data_lacks_is_said_before_anything_is_trained(study, monkeypatch):
    monkeypatch.setattr(curves.data, "load", lambda *_: SimpleNamespace(boxes=None, masks=None))
    study.check = None  # not called
    with pytest.raises(ValueError, match="fig7 needs boxes, but the test split of"):
        curves.localisation(study, "fig7", **COLUMNS)
    with pytest.raises(ValueError, match="fig8 needs masks"):
        curves.precision_recall(study, "fig8", **COLUMNS)

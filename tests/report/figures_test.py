import base64
import copy
import dataclasses
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from fcam_tf.evaluation import EXPLANATION
from fcam_tf.report import figures, tables


def svg(panel):
    kind, _, content = panel.source.partition(";base64,")
    assert kind == "data:image/svg+xml"
    return ET.fromstring(base64.b64decode(content))  # noqa: S314 - we wrote it


def test_a_panel_for_each_iou(finished, perfect):
    panels = figures.threshold_panels([finished, perfect])
    assert len(panels) == 3
    metric = finished.metrics["details"]["MaxBoxAccV2"]
    for panel, accuracy in zip(panels, metric["accuracy"], strict=True):
        assert f"center: at best {accuracy:.1f} %" in panel.alt
        assert "truth: at best" in panel.alt
        assert svg(panel).tag.endswith("svg")


def test_what_one_run_does_not_have_is_not_drawn(finished):
    bare = copy.copy(finished)
    bare.metrics = finished.metrics | {"details": finished.metrics["details"].copy()}
    del bare.metrics["details"]["PxAP"], bare.metrics["details"]["MaxBoxAccV2"]
    assert figures.threshold_panels([finished, bare]) == []
    assert figures.precision_panel([bare]) == []
    assert figures.activation_panel([bare]).alt


def test_more_runs_than_colours_are_all_drawn(finished):
    runs = [finished] * (len(figures.COLOURS) + 2)
    for panel in (figures.activation_panel(runs), figures.quality_panel(runs)):
        assert panel.alt.count("center:") == len(runs)


def test_the_same_figure_is_the_same_file(finished):
    assert figures.quality_panel([finished]) == figures.quality_panel([finished])


def test_shares_are_said(perfect):
    activation = perfect.metrics["details"]["activation"]
    assert sum(activation) == pytest.approx(1, abs=1e-5)
    assert f"{sum(activation[:100]):.0%} of the pixels" in figures.activation_panel([perfect]).alt


def test_the_legend_hides_nothing(finished, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: drawn.append(f) or save(f, *a, **k))
    figures.quality_panel([finished, finished])
    (figure,) = drawn
    (axes,), (legend,) = figure.axes, figure.legends
    assert legend.get_window_extent().y1 <= axes.get_tightbbox().y0


def test_measures_of_explanations_are_drawn_and_listed_for_the_runs_that_have_them(finished):
    assert figures.explanation_panels([finished]) == []
    assert tables.explanation([finished]) == []
    measured = copy.copy(finished)
    numbers = {"fractions": [0.1, 0.5]}
    measured.settings = dataclasses.replace(finished.settings, explanation=numbers)
    curves = {"deletion curve": [90.0, 20.0, 5.0], "insertion curve": [5.0, 80.0, 90.0]}
    curves |= {"MoRF curve": [40.0, 10.0], "LeRF curve": [90.0, 70.0]}
    random = {"layers": ["head", "first"], "rank_correlation": [0.5, 0.0], "ssim": [0.4, 0.1]}
    details = finished.metrics["details"] | {"explanation": curves, "randomisation": random}
    shown = dict.fromkeys(EXPLANATION, 12.3)
    measured.metrics = finished.metrics | shown | {"details": details}
    panels = figures.explanation_panels([finished, measured])
    assert [panel.alt.split(",")[0].split(" ")[0] for panel in panels] == [
        *("Deletion", "Insertion", "ROAD", "Similarity")
    ]
    assert all(svg(panel).tag.endswith("svg") for panel in panels)
    assert all(panel.alt.count("center:") == 1 for panel in panels)  # one of the two has curves
    (table,) = tables.explanation([finished, measured])
    assert [row[1:] for row in table.rows] == [["—", "12.3"]] * len(EXPLANATION)
    details.pop("randomisation")
    assert len(figures.explanation_panels([measured])) == 3

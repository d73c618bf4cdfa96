import base64
import copy
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from fcam_tf.report import figures


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

import keras
import numpy as np
import pytest

from fcam_tf.models import Classifier
from fcam_tf.paper import peers, runtime
from fcam_tf.paper.runtime import ROWS, calls, device, peer_timings, timings

WITH_THE_MODEL = ("forward", "smoothgradcampp", "scorecam", "sscam", "iscam")
FROM_FEATURES = tuple(name for name in ROWS if name not in WITH_THE_MODEL)
SMALL = {"num_classes": 3, "size": 32, "rounds": 1, "channels": 4}


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("method", FROM_FEATURES)
def test_both_calls_make_the_same_map(method, tiny_backbone, images):
    keras.utils.set_random_seed(1)  # of others, all evidence may be against the class: no map
    baseline = method if method in ("acol", "spg", "adl") else None
    alone, whole = calls(
        method, Classifier(tiny_backbone, 3, weights=None, baseline=baseline), images
    )
    maps = np.asarray(whole())
    assert maps.shape == (1, 32, 32)
    assert maps.std() > 0
    np.testing.assert_allclose(np.asarray(alone()), maps, atol=1e-5)


@pytest.mark.traced
@pytest.mark.parametrize("method", ["layercam", "fcam", "acol"])
def test_both_calls_make_the_same_map_as_graphs(method, tiny_backbone, images):
    test_both_calls_make_the_same_map(method, tiny_backbone, images)


def test_rows_of_every_method(tiny_backbone):
    rows = list(timings(tiny_backbone, **SMALL))
    assert [row.method for row in rows] == list(ROWS)
    assert [row.name for row in rows] == list(ROWS.values())
    assert all(row.whole_ms > 0 and row.rounds == 1 for row in rows)
    assert tuple(row.method for row in rows if row.map_ms is None) == WITH_THE_MODEL
    assert [row.method for row in rows if row.estimated] == ["scorecam", "sscam", "iscam"]


def test_a_row_comes_when_it_is_measured(tiny_backbone, monkeypatch):
    seen = []
    monkeypatch.setattr(runtime, "_milliseconds", lambda call, rounds: (call(), rounds))
    monkeypatch.setattr(
        runtime, "calls", lambda method, *_, **__: runtime.Calls(None, lambda: seen.append(method))
    )
    rows = timings(tiny_backbone, ["acol", "cam"], num_classes=3)
    monkeypatch.setattr(runtime, "_milliseconds", lambda call, rounds: (call() or 2.0, rounds))
    assert seen == []
    assert next(rows).method == "acol"
    assert seen == ["acol"]
    assert [row.method for row in rows] == ["cam"]


def test_estimates_are_scaled_by_the_channels(tiny_backbone, monkeypatch):
    monkeypatch.setattr(runtime, "_seconds", lambda _: 0.003)

    def whole(channels):
        (row,) = timings(tiny_backbone, ["scorecam"], **{**SMALL, "channels": channels})
        return row.whole_ms, row.estimated

    assert whole(128) == (pytest.approx(4 * 3), True)  # of 512 channels
    assert whole(512) == (pytest.approx(3), False)
    assert whole(None) == (pytest.approx(3), False)


def test_the_median_of_the_rounds_after_the_first(monkeypatch):
    left = [50, 0.2, 0.9, 0.3]
    monkeypatch.setattr(runtime, "_seconds", lambda _: left.pop(0))
    assert runtime._milliseconds(None, 3) == (300, 3)
    left = [61]
    assert runtime._milliseconds(None, 3) == (61_000, 1)


@pytest.mark.parametrize(
    ("backbone", "methods", "message"),
    [
        ("resnet50", ["gradcam", "layrcam"], "`methods` is unknown: 'layrcam'. Did you mean"),
        ("resnet51", ["cam"], "`backbone` is unknown: 'resnet51'. Did you mean 'resnet50'"),
    ],
)
def test_names_are_checked_at_once(backbone, methods, message):
    with pytest.raises(ValueError, match=message):
        timings(backbone, methods)


def test_the_device_has_a_name():
    assert device()
    assert "core" in device() or "GPU" in device()


def test_other_work_is_told(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.9, 7.0, 7.0), raising=False)
    assert runtime.busy() == ""
    monkeypatch.setattr("os.getloadavg", lambda: (8.44, 0.1, 0.1), raising=False)
    assert runtime.busy() == "while other work ran (load 8.4)"
    monkeypatch.delattr("os.getloadavg")
    assert runtime.busy() == ""


def test_other_libraries(tiny_backbone, monkeypatch):
    def some(classifier, images, failed):
        assert (classifier.num_classes, classifier.output_stride) == (3, 16)
        assert images.shape == (1, 32, 32, 3)
        yield "torch-cam", "layercam", lambda: 1 / 0
        yield "torch-cam", "gradcam", lambda: np.zeros(1)
        yield "pytorch-grad-cam", "hirescam", pytest.fail  # no method of the table
        yield "pytorch-grad-cam", "gradcam", pytest.fail  # done before
        failed("not timed: xplique: it is broken")

    monkeypatch.setattr(peers, "calls", some)
    told = []
    options = {"num_classes": 3, "output_stride": 16, "size": 32, "failed": told.append}
    done = ["Grad-CAM, pytorch-grad-cam"]
    (row,) = peer_timings(tiny_backbone, rounds=1, done=done, **options)
    assert (row.method, row.name) == ("gradcam", "Grad-CAM, torch-cam")
    assert (row.map_ms, row.rounds, row.estimated) == (None, 1, False)
    assert told == [
        "not timed: LayerCAM, torch-cam: division by zero",
        "not timed: xplique: it is broken",
    ]
    assert not list(peer_timings(tiny_backbone, ["cam"], **options))

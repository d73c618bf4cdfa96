"""Agreement with the outputs of the benchmark's own evaluator."""

import numpy as np
import pytest

from fcam_tf import metrics
from fcam_tf.grey_levels import to_levels
from fcam_tf.masks import BACKGROUND, IGNORED, OBJECT
from fcam_tf.metrics.contours import all_contours, largest_contours
from fcam_tf.metrics.measures import HeatMap, grey_thresholds, score_histogram


def test_inputs_are_rebuilt_exactly(vectors):
    module, expected = vectors
    cases = [case for section in module.BUILDERS for case in expected[section]]
    assert len(cases) > 100
    for case in cases:
        assert module.inputs_sha256(case) == case["inputs_sha256"], case["id"]


def test_boxes(vectors):
    module, expected = vectors
    for case in expected["boxes"]:
        given = module.build(case)
        levels = to_levels(metrics.check_scoremap(given["map"]))
        grey = grey_thresholds(levels.max(), metrics.threshold_grid(given["interval"]))
        largest, every = largest_contours(levels), all_contours(levels)
        want = case["expected"]
        assert [largest.at(t).tolist() for t in grey] == [
            [box] for box in module.unrle(want["v1"])
        ], case["id"]
        found = [sorted(every.at(t).tolist()) for t in grey]
        assert found == module.unrle(want["v2_sorted"]), case["id"]
        assert [len(boxes) for boxes in found] == module.unrle(want["n_contours"]), case["id"]


def test_boxes_from_map(vectors):
    module, expected = vectors
    for case in expected["boxes"]:
        given = module.build(case)
        grid = metrics.threshold_grid(given["interval"])
        largest, every = (module.unrle(case["expected"][key]) for key in ("v1", "v2_sorted"))
        for i in range(0, grid.size, max(1, grid.size // 10)):
            one = metrics.boxes_from_map(given["map"], grid[i])
            many = metrics.boxes_from_map(given["map"], grid[i], multiple=True)
            assert one.tolist() == [largest[i]], case["id"]
            assert many.tolist() == every[i], case["id"]


def test_iou(vectors):
    module, expected = vectors
    for case in expected["iou"]:
        given = module.build(case)
        iou = metrics.box_iou(given["a"], given["b"])
        np.testing.assert_allclose(iou, case["expected"]["iou"], rtol=0, atol=1e-9)


def test_resize_boxes(vectors):
    module, expected = vectors
    for case in expected["resize_bbox"]:
        given = module.build(case)
        moved = [
            metrics.resize_boxes([box], size, given["frame"])[0].tolist()
            for box, size in zip(given["boxes"], given["sizes"], strict=True)
        ]
        assert moved == case["expected"]["boxes"], case["id"]


def test_normalize(vectors):
    module, expected = vectors
    cases = [case for case in expected["normalize"] if case["portable"]]
    assert cases
    for case in cases:
        given, want = module.build(case), case["expected"]
        scoremap = metrics.normalize_cam(given["cam"], given["out"])
        rows, columns = given["probe"].T
        np.testing.assert_allclose(
            scoremap[rows, columns], want["probe"], rtol=0, atol=1e-9, err_msg=case["id"]
        )
        assert scoremap.mean() == pytest.approx(want["mean"], abs=1e-9)
        assert scoremap.min() == pytest.approx(want["min"], abs=1e-9)
        assert scoremap.max() == pytest.approx(want["max"], abs=1e-9)
        place = np.unravel_index(scoremap.argmax(), scoremap.shape)
        assert list(map(int, place)) == want["argmax"], case["id"]
        step = np.abs(np.diff(scoremap, axis=1)).mean()
        assert step == pytest.approx(want["mean_abs_dx"], abs=1e-9)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_maxboxacc(vectors, version):
    module, expected = vectors
    for case in expected["maxboxacc"]:
        images, want = module.build(case), case["expected"][version]
        frame = (case["S"], case["S"])
        truth = [metrics.resize_boxes(image["boxes"], image["size"], frame) for image in images]
        assert [boxes.tolist() for boxes in truth] == case["expected"]["gt_boxes"]
        maps = [image["map"] for image in images]
        ious = [percent / 100 for percent in case["ious"]]
        metric = metrics.MaxBoxAcc(ious, multiple=version == "v2", interval=case["interval"])
        logits = -np.argsort([image["preds"] for image in images])  # highest first in preds
        metric.update_state(maps, truth, [image["target"] for image in images], logits)
        details = metric.details()
        for key, name in (("acc", "accuracy"), ("top1", "top1"), ("top5", "top5")):
            np.testing.assert_allclose(details[name], want[key], atol=1e-8, err_msg=case["id"])
        np.testing.assert_allclose(details["best_thresholds"], want["best_tau"], atol=1e-8)
        assert metric.result() == pytest.approx(want["mean"], abs=1e-8)
        for curve, percent in zip(metric.curves(), case["ious"], strict=True):
            hits = module.unrle(want["n_correct_at_tau"][str(percent)])
            np.testing.assert_allclose(curve, np.array(hits) / len(images) * 100, atol=1e-8)
        measure = metrics.MEASURES["MaxBoxAccV2" if version == "v2" else "MaxBoxAcc"]
        best = []
        for scoremap, boxes in zip(maps, truth, strict=True):
            heatmap = HeatMap(scoremap)
            thresholds = grey_thresholds(heatmap.peak, metric.thresholds)
            best.append(measure.of(heatmap, np.asarray(boxes))[thresholds].max())
        np.testing.assert_allclose(best, want["best_iou_per_image"], atol=1e-9)


def test_maxboxacc_headlines(vectors):
    module, expected = vectors
    cases = [case for case in expected["maxboxacc"] if case["ious"] == [30, 50, 70]]
    for case in cases:
        images = module.build(case)
        maps = [image["map"] for image in images]
        v1 = metrics.MaxBoxAcc(interval=case["interval"])
        v2 = metrics.MaxBoxAccV2(interval=case["interval"])
        for metric in (v1, v2):
            metric.update_state(maps, case["expected"]["gt_boxes"])
        assert v1.result() == pytest.approx(case["expected"]["v1"]["acc"][1], abs=1e-8)
        assert v2.result() == pytest.approx(case["expected"]["v2"]["mean"], abs=1e-8)


def test_pxap(vectors):
    module, expected = vectors
    for case in expected["pxap"]:
        images, want = module.build(case), case["expected"]
        size = (case["S"], case["S"])
        masks = [metrics.join_masks(image["masks"], image["ignore"], size) for image in images]
        counts = [
            [int((mask == kind).sum()) for kind in (OBJECT, BACKGROUND, IGNORED)] for mask in masks
        ]
        assert counts == want["fg_bg_ignored"], case["id"]
        metric = metrics.PxAP(case["interval"])
        maps = [image["map"] for image in images]
        metric.update_state(maps, masks)
        histogram = sum(
            score_histogram(scores, mask, metric.thresholds)
            for scores, mask in zip(maps, masks, strict=True)
        )
        moments = histogram @ np.arange(1, histogram.shape[1] + 1)
        assert moments.tolist() == [want["hist_bg_moment"], want["hist_fg_moment"]]
        if "error" in want:
            with pytest.raises(RuntimeError, match="no object pixel"):
                metric.result()
        else:
            assert metric.result() == pytest.approx(want["pxap"], abs=1e-8), case["id"]


def run_unit_test(case):
    if case["fn"] == "iou":
        return metrics.box_iou(case["a"], case["b"])
    if case["fn"] == "resize_bbox":
        return metrics.resize_boxes([case["box"]], case["image_size"], case["resize_size"])[0]
    named = {"zeros(3,3)": np.zeros((3, 3)), "full((3,3), nan)": np.full((3, 3), np.nan)}
    scoremap = named[case["map"]] if isinstance(case["map"], str) else np.array(case["map"])
    return [metrics.boxes_from_map(scoremap, tau)[0] for tau in np.arange(0, 1, 0.2)]


def test_reference_unit_tests(vectors):
    _, expected = vectors
    errors = {"RuntimeError": RuntimeError, "ValueError": ValueError}
    for case in expected["unit_tests"]:
        want = case["expect"]
        if want in list(errors):
            with pytest.raises(errors[want]):
                run_unit_test(case)
        elif want == "3 x 5 float64 array of 1.0":
            np.testing.assert_array_equal(run_unit_test(case), np.ones((3, 5)))
        else:
            np.testing.assert_allclose(run_unit_test(case), want, atol=1e-9)


def test_constant_maps_on_the_reference_mask_images(vectors):
    _, expected = vectors
    for image in expected["mask_test_images"]:
        mask = np.repeat([1, 0, 255], [image["fg"], image["bg"], image["ignored"]])
        mask = mask.reshape(224, 224)
        for value in (0.0, 0.5, 1.0):
            metric = metrics.PxAP(0.01)
            metric.update_state([np.full((224, 224), value)], [mask])
            if image["pxap_of_any_constant_map"] == "RuntimeError":
                with pytest.raises(RuntimeError):
                    metric.result()
            else:
                want = image["pxap_of_any_constant_map"]
                assert metric.result() == pytest.approx(want, abs=1e-8)


@pytest.mark.parametrize(
    ("split", "shift", "name"),
    [
        ("val", 224, "parabola_c112"),
        ("val", 223, "parabola_c111.5"),
        ("test", 224, "parabola_c112"),
    ],
)
def test_center_baseline(vectors, metadata, split, shift, name):
    _, expected = vectors
    case = next(
        case
        for case in expected["center_baseline"]
        if (case["dataset"], case["split"], case["map"]) == ("CUB", split, name)
        and case["interval"] == 0.001
    )
    folder = metadata / "CUB" / split
    sizes = {
        image: (int(width), int(height))
        for image, width, height in (
            line.rsplit(",", 2) for line in (folder / "image_sizes.txt").read_text().splitlines()
        )
    }
    boxes = {image: [] for image in sizes}
    for line in (folder / "localization.txt").read_text().splitlines():
        image, *box = line.rsplit(",", 4)
        boxes[image].append([int(value) for value in box])
    truth = [metrics.resize_boxes(boxes[image], sizes[image], (224, 224)) for image in sizes]
    y, x = np.mgrid[:224, :224]
    center = -((2 * x - shift) ** 2 + (2 * y - shift) ** 2.0)
    center -= center.min()
    center /= center.max()
    v1, v2 = metrics.MaxBoxAcc(), metrics.MaxBoxAccV2()
    for metric in (v1, v2):
        metric.update_state([center] * len(truth), truth)
    assert len(truth) == case["images"]
    assert v1.result() == pytest.approx(case["maxboxacc"], abs=1e-8)
    assert v2.result() == pytest.approx(case["maxboxaccv2"], abs=1e-8)

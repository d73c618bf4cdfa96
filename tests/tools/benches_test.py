"""One tiny run of each tool that measures or trains: what it prints, not how fast it is."""

import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from fcam_tf import zoo
from fcam_tf.data import write_shapes
from fcam_tf.models import Classifier


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    counts = {"train": 6, "val": 3, "test": 3}
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", counts, size=48)


@pytest.mark.slow
def test_bench_cams(tool):
    shown = tool("bench_cams", "--batch=1", "--size=32", "--rounds=1")
    names = ("forward pass", "gradcampp", "layercam P4+P5, flip", "fcam, flip")
    assert all(name in shown for name in names)
    assert "scorecam" not in shown


@pytest.mark.slow
def test_bench_crf(tool):
    cases = (("photos", 16, 2, 15.0, 100.0), ("uniform noise", 16, 3, 5.0, 20.0))
    shown = tool("bench_crf", "--rounds=3", _CASES=cases)
    assert "photos 16, K=2, sigmas 15/100" in shown
    assert "uniform noise 16, K=3, sigmas 5/20" in shown


@pytest.mark.slow
def test_bench_dense_crf(tool):
    shown = tool("bench_dense_crf", "--rounds=3", _CASES=((12, 16, 3, True),))
    assert "16x12, K=3, bilateral and spatial" in shown


@pytest.mark.slow
def test_bench_training(tool):
    shown = tool("bench_training", "--batch=2", "--size=32", "--rounds=1")
    assert all(part in shown for part in ("whole step", "decoder, forward", "online", "stored"))


@pytest.mark.slow
def test_bench_training_of_classifiers(tool):
    shown = tool("bench_training", "--batch=2", "--size=32", "--rounds=1", "--classifiers=cam,has")
    assert all(part in shown for part in ("has", "images/s", "times cam's step"))
    assert "whole step" not in shown


SMALL = ("crop=32", "resize=32", "epochs=1", "batch_size=3")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore:The 1000 classes of the model are not the 5")
def test_train_general(tool, shapes, tmp_path):
    for name in ("in1k", "pets3", "tiny10"):
        (tmp_path / name).symlink_to(shapes)
    flags_ = ("--methods=layercam", "--layers=P4,P5", "--scales=32,48,64", "--flip", "--refine")
    photos = (
        "--epochs=1",
        "--in1k=train,val",
        "--tiny=4",
        "--held_out=pets3",
        "--seed=0",
        "--seed=1",
    )
    sets = [f"--set={x}" for x in SMALL]
    out = tmp_path / "runs"
    shown = tool("train_general", "--data", tmp_path, "--out", out, *flags_, *photos, *sets)
    assert "val, %, trained on 13 photos, seeds [0, 1]" in shown
    assert all(row in shown for row in ("teacher, layercam", "F-CAM on layercam", "±"))
    about = json.loads((out / "efficientnetlite_b0_layercam_maps/cams.json").read_text())
    assert (about["scales"], about["flip"], about["layer"]) == ([1, 1.5, 2], True, "P4,P5")
    assert about["refine"] == "crf"
    states = [out / f"efficientnetlite_b0_layercam_seed{seed}/state.json" for seed in (0, 1)]
    before = [path.stat().st_mtime_ns for path in states]
    assert json.loads(states[0].read_text())["history"][1]["seeds_loss"] > 0
    importlib.import_module("train_general").main()  # again: nothing is left to train
    del sys.modules["train_general"]
    assert [path.stat().st_mtime_ns for path in states] == before


def test_imagenet_accuracy(tool, shapes):
    shown = tool("imagenet_accuracy", "--data", shapes, "--splits=val,test", "--size=32")
    assert "6 photos at 32 pixels" in shown
    assert all(stride in shown for stride in ("32", "16", "8"))


def test_bench_input(tool, shapes):
    shown = tool("bench_input", "--data", shapes, "--epochs=1")
    assert "shapes/train: 6 images" in shown
    assert all(name in shown for name in ("training 256", "28x28 CAMs", "evaluation 224"))


def test_compare_scales(tool, shapes, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda _: Classifier("efficientnetlite_b0"))
    numbers = ("--size=32", "--scales=1,1.5", "--score_photos=1", "--channels=2")
    shown = tool("compare_scales", "--data", shapes, *numbers)
    assert all(row in shown for row in ("layercam", "P4,P5", "scales 1, 1.5, flip", "s/photo"))
    assert "3 photos at 32 pixels" in shown
    assert "Score-CAM on 1 photos" in shown


def test_bench_localize(tool, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda _: Classifier("efficientnetlite_b0"))
    sizes = {"tiny": (40, 30), "small": (300, 260)}
    threads = {"_process": lambda: ThreadPoolExecutor(1)}  # another process has no tiny model
    arguments = ("--photos=3,2", "--batch=2", "--rounds=1")
    shown = tool("bench_localize", *arguments, _SIZES=sizes, **threads)
    assert all(part in shown for part in ("3 photos of tiny", "2 photos of small"))
    assert all(row in shown for row in ("bare forward pass", "boxes alone", "and heat maps"))

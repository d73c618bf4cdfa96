import csv
import shutil
import signal
import time

import pytest

import fcam_tf
from fcam_tf import cli
from fcam_tf.data import write_shapes
from tests.children import Child

SMALL = ("crop=32", "resize=36", "epochs=1", "batch_size=5")
FAST = (
    *("--recipe=small", "--backbones=efficientnetlite_b0", "--output-stride=16", "--seeds=1"),
    *(f"{flag}={text}" for flag in ("--set", "--classifier-set") for text in SMALL),
)


def status(*arguments):
    return cli.run(["fcam", "paper", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(
        tmp_path_factory.mktemp("data") / "shapes", {"train": 10, "val": 15, "test": 6}, 48
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table9",), "Available: table1, table2, table3, table4, table5, vary, fig2"),
        (("table1", "--vary=loss.crf=0"), "--vary is for vary and fig2, and this is table1"),
        (("fig1", "--seeds=2"), "fig8 and fig9, and this is fig1"),
        (("fig5", "--threshold=0.5"), "--threshold is for fig1, fig10 and fig11, and this is fig5"),
        (("fig10", "--threshold=1"), "must be a number in [0, 1). Received: 1"),
        (("fig5", "--methods=cam+fcam"), "--methods must be without +fcam here"),
        (("table1", "--methods=cam,has+fcam"), "comes with it: name has. Received: has+fcam."),
        (("fig1", "--methods=fsl"), "--methods is unknown: 'fsl'"),
        (("fig9", "--methods=cam+fcam"), "--methods must name one with a classifier"),
        (("table5", "--methods=center"), "--methods must name one with a classifier"),
        (("table4", "--methods=camm"), "--methods is unknown: 'camm'"),
        (("table1", "--channels=3"), "--channels is for table4, and this is table1"),
        (("fig3", "--methods=camm"), "--methods is unknown: 'camm'"),
        (("fig3", "--methods=cam", "--vary=loss.crf=0"), "for vary and fig2, and this is fig3"),
        (("fig4", "--methods=cam"), "table4 and fig3, and this is fig4"),
        (
            ("fig3", "--backbones=vgg16"),
            "--backbones is for table1, table3, table5, vary, fig2, fig5",
        ),
        (
            ("table4", "--set=epochs=3"),
            "fig8, fig9, fig1, fig10 and fig11, and this is table4",
        ),
        (("table1", "--backbones=resnet5"), "--backbones is unknown: 'resnet5'"),
        (("table1", "--methods=camm"), "--methods is unknown: 'camm'"),
        (("table1", "--methods=cam,,has"), "--methods: must be names separated by commas"),
        (("table1", "--backbones=vgg16,vgg16"), "--backbones: must be names separated by commas"),
        (("vary",), "--vary is missing"),
        (("vary", "--vary=loss.crf"), "--vary must be KEY=VALUE,VALUE,..."),
        (("table1", "--weights=imagnet"), "--weights is neither imagenet nor none nor a file"),
        (("table1", f"--weights={__file__}"), "is for one backbone, and --backbones names 3"),
        (("table1", "--weights=resnet5=none"), "unknown: 'resnet5'. Did you mean 'resnet50'"),
    ],
)
def test_wrong_usage(data, tmp_path, capfd, arguments, message):
    assert status(*arguments, "--data", data, "--out", tmp_path / "out") == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_table_with_a_dash_counts_as_failed(data, tmp_path, monkeypatch):
    def table(study, *_, **__):
        study.missing.append("a cell")
        return [], []

    monkeypatch.setattr(fcam_tf.paper, "table", table)
    assert status("table1", "--data", data, "--out", tmp_path / "out") == 1


@pytest.mark.parametrize("what", ["table1", "table2", "fig3"])
def test_a_file_is_no_folder(data, tmp_path, capfd, what):
    (tmp_path / "out").write_text("")
    more = () if what == "table2" else ("--data", data)
    assert status(what, *more, "--out", tmp_path / "out") == 2
    assert f"--out {tmp_path / 'out'} is not a folder" in capfd.readouterr().err


@pytest.mark.parametrize("what", ["table1", "fig3"])
def test_data_that_is_missing(tmp_path, capfd, what):
    assert status(what, "--out", tmp_path) == 2
    assert f"--data is missing: {what} measures on a data set" in capfd.readouterr().err


@pytest.mark.parametrize("what", ["fig3", "fig4"])
def test_masks_that_are_missing(data, tmp_path, capfd, what):
    boxed = shutil.copytree(data, tmp_path / "boxed")
    (boxed / "metadata/test/localization_masks.txt").unlink()
    assert status(what, "--data", boxed, "--out", tmp_path / "out") == 2
    assert "must have masks" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_may_have_spaces_between_them(data, tmp_path, monkeypatch):
    def table(*given, **_):
        shown.append(([row.title for row in given[2]], given[3]))
        return [], []

    shown = []
    monkeypatch.setattr(fcam_tf.paper, "table", table)
    names = ("--methods", "cam, has", "--backbones", "resnet50 ,vgg16")
    assert status("table3", "--data", data, "--out", tmp_path / "out", *names) == 0
    assert shown == [(["CAM*", "HaS"], ["resnet50", "vgg16"])]


def test_what_methods_reach_stands_in_figure_3(data, tmp_path, monkeypatch):
    def reached(_, name, rows, backbones, seeds):
        return {f"{name}, {row.title}, {backbones}": 60.0 for row in rows}, f"{seeds} seeds"

    monkeypatch.setattr(fcam_tf.paper, "reached", reached)
    shown = []
    monkeypatch.setattr(fcam_tf.paper.measured, "fig3", lambda *given: shown.append(given) or [])
    command = ("fig3", "--data", data, "--out", tmp_path / "out")
    assert status(*command) == 0
    assert status(*command, "--methods=cam+fcam", "--backbones=vgg16", "--seeds=2") == 0
    assert [given[2] for given in shown] == [
        ({}, ""),
        ({"fig3, CAM* + F-CAM, ['vgg16']": 60.0}, "2 seeds"),
    ]


def test_figure_3_is_of_the_photos_that_the_methods_are_scored_on(data, tmp_path, monkeypatch):
    root = shutil.copytree(data, tmp_path / "broken")
    photos = fcam_tf.data.load(root, "test").paths
    photos[2].write_bytes(b"junk")
    monkeypatch.setattr(fcam_tf.paper, "reached", lambda *_: ({}, ""))
    shown = []
    monkeypatch.setattr(
        fcam_tf.paper.measured, "fig3", lambda _, split, __: shown.append(split) or []
    )
    command = ("fig3", "--data", root, "--out", tmp_path / "out", "--methods=cam", "--skip-broken")
    assert status(*command) == 0
    assert shown[0].paths == (*photos[:2], *photos[3:])


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.usefixtures("undrawn", "small_backbones")
def test_tables_share_what_is_trained(data, tmp_path, capfd):
    out = tmp_path / "out"
    command = ("--data", data, "--out", out, *FAST, "--set=loss.windows={}")
    assert status("table1", *command) == 0
    shown = capfd.readouterr()
    assert "| CAM\\* + SR + ASC + CRF |" in shown.out
    assert shown.err.count("training efficientnetlite_b0/") == 5
    first = rows_of(out / "table1.csv")
    assert {row["metric"] for row in first} == {"MaxBoxAcc", "MaxBoxAccV2", "PxAP"}
    # The classifier and the F-CAM of the last row are those of Table 3.
    methods = "--methods=cam,cam+fcam,adl,fsl,center"
    assert status("table3", *command, methods) == 0
    trained = capfd.readouterr().err
    assert "training efficientnetlite_b0/adl-0" in trained
    assert "training efficientnetlite_b0/fsl-0" in trained
    assert trained.count("training ") == 2
    one = {(row["metric"], row["row"]): row["mean"] for row in first}
    three = {(row["metric"], row["row"]): row["mean"] for row in rows_of(out / "table3.csv")}
    assert three["PxAP", "CAM* + F-CAM"] == one["PxAP", "CAM* + SR + ASC + CRF"]
    # And again there is nothing to train.
    assert status("table5", *command, methods) == 0
    assert "training " not in capfd.readouterr().err
    assert [row["row"] for row in rows_of(out / "table5.csv")] == ["CAM*", "ADL"]
    # Of other settings nothing is taken over.
    assert status("table1", *command, "--set=loss.positives=2") == 2
    assert "positives was 5 and is now 2" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "small_backbones")
def test_the_curve_and_the_search(data, tmp_path, capfd):
    out = tmp_path / "out"
    command = ("--data", data, "--out", out, *FAST, "--draws=1")
    assert status("fig2", *command, "--vary=loss.negative_fraction=0.1,0.3") == 0
    assert "training efficientnetlite_b0/search-cam/trial-0" in capfd.readouterr().err
    assert [row["value"] for row in rows_of(out / "fig2.csv")] == ["0.1", "0.3"]
    assert (out / "fig2.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "fig2.pdf").read_bytes()[:4] == b"%PDF"
    assert status("vary", *command, "--vary=loss.negative_fraction=0.1,0.3") == 0
    assert "training " not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "small_backbones")
def test_figures_of_what_the_tables_train(data, tmp_path, capfd):
    out = tmp_path / "out"
    command = ("--data", data, "--out", out, *FAST)
    assert status("table3", *command, "--methods=cam,cam+fcam") == 0
    capfd.readouterr()
    whole = [flag for flag in command if flag != "--seeds=1"]
    for what in ("fig3", "fig5", "fig6", "fig7", "fig8", "fig9"):
        assert status(what, *command, "--methods=cam") == 0
    for what in ("fig1", "fig10", "fig11"):
        assert status(what, *whole, "--methods=cam") == 0
    told = capfd.readouterr().err
    assert "training " not in told
    for what in ("fig1", *(f"fig{number}" for number in range(5, 12))):
        assert rows_of(out / f"{what}.csv")
        assert any(
            out.glob(f"{what}*.jpg" if what in ("fig1", "fig10", "fig11") else f"{what}*.png")
        )
        assert any(out.glob(f"{what}*.pdf"))


# In a process of its own, as it is killed. What the fixtures do in this one is done there, too.
_CHILD = """
import sys
from fcam_tf import cli
from fcam_tf.cams import autodiff
from fcam_tf.models import BACKBONES
from fcam_tf.paper import cells
from fcam_tf.training import loop
from tests.eager import run_eagerly
from tests.models.tiny import tiny_backbone

run_eagerly(setattr)
BACKBONES["efficientnetlite_b0"] = tiny_backbone("efficientnetlite_b0")
loop.tensorboard, loop.draw_convergence = lambda *_: [], lambda *args: args[2].touch()
cells.PAUSE = 0.2
sys.exit(cli.run(["fcam", "paper", *sys.argv[1:]]))
"""


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.usefixtures("undrawn", "small_backbones")
def test_goes_on_after_it_was_killed(data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    values = "--vary=loss.negative_fraction=0.1,0.3"
    command = ("vary", "--data", data, *FAST, "--set=epochs=2", values)
    process = Child(_CHILD, [*command, "--out", killed])
    second = killed / "efficientnetlite_b0/cam-0-loss.negative_fraction=0.1/state.json"
    while not second.exists() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert process.poll() == -signal.SIGKILL
    assert not (killed / "vary.csv").exists()
    # Two go on with it, each with what the other leaves.
    for again in [Child(_CHILD, [*command, "--out", killed]) for _ in range(2)]:
        told = again.communicate()[1]
        assert again.poll() == 0, told
        assert "training efficientnetlite_b0/cam-0\n" not in told
    assert status(*command, "--out", whole) == 0
    assert rows_of(killed / "vary.csv") == rows_of(whole / "vary.csv")

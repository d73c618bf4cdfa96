import csv
from types import SimpleNamespace

import pytest

from fcam_tf.paper import panels
from fcam_tf.paper.convergence import convergence, curves_of
from fcam_tf.paper.rows import table5

HISTORY = [
    {"epoch": 0, "val_accuracy": 10.0, "val_PxAP": 40.0, "val_MaxBoxAcc": 30.0},
    {"epoch": 1, "val_accuracy": 50.0, "val_PxAP": 60.0, "val_MaxBoxAcc": 20.0},
    {"epoch": 2, "val_accuracy": 70.0, "val_PxAP": 55.0, "val_MaxBoxAcc": 10.0},
]


def run(method="cam", select="PxAP", best=1):
    return SimpleNamespace(
        settings={"method": method, "recipe": {"select": select, "seed": 0}},
        state=SimpleNamespace(history=HISTORY),
        chosen=HISTORY[best],
    )


@pytest.mark.parametrize(("select", "score"), [("PxAP", "PxAP"), ("accuracy", "MaxBoxAcc")])
def test_accuracy_and_the_score_that_chooses(select, score):
    accuracy, localisation = curves_of("tiny", run(select=select))
    assert accuracy.y.tolist() == [10, 50, 70]
    assert localisation.what == score
    assert localisation.y.tolist() == [row[f"val_{score}"] for row in HISTORY]
    assert localisation.x[localisation.mark] == 1


def test_methods_of_one_training_are_shown_once(tmp_path, monkeypatch):
    study = SimpleNamespace(
        root="birds",
        out=tmp_path,
        tell=print,
        check=lambda _: None,
        missing=[],
        classifier=lambda cell: run({"xgradcam": "gradcam"}.get(cell.method, cell.method)),
    )
    rows = table5(["cam", "gradcam", "xgradcam"])
    titles, real = [], panels.draw_panels

    def noted(*given, title, **options):
        titles.append(title)
        return real(*given, title=title, **options)

    monkeypatch.setattr("fcam_tf.paper.convergence.draw_panels", noted)
    table, *_ = convergence(study, "fig9", rows, ["tiny"], 1)
    assert titles == ["birds, val, 1 seed: a dot marks the epoch that is kept"]
    with table.open() as file:
        found = [*csv.DictReader(file)]
    assert [row["row"] for row in found] == ["CAM*"] * 6 + ["GradCAM"] * 6
    assert {row["epoch"] for row in found if row["chosen"] == "1"} == {"1"}
    assert [row["score"] for row in found[3:6]] == ["40", "60", "55"]

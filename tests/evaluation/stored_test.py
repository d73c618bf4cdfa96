import csv
import dataclasses
import json

import pytest

from fcam_tf.atomic import write_csv
from fcam_tf.evaluation import EvaluationSettings, StoredEvaluation
from fcam_tf.evaluation.stored import ROWS


def write_rows(out, rows):
    write_csv(out / ROWS, map(dataclasses.asdict, rows))


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"model": "resnet50_layercam.cub"}, "resnet50_layercam.cub cam"),
        ({"model": "/models/birds.keras", "layer": "P4,P5"}, "birds cam (P4,P5)"),
        ({"model": "/runs/birds/best.keras"}, "birds cam"),
        (
            {"model": "net.keras", "layer": "P5", "options": {"scales": [1, 1.5], "flip": True}},
            "net cam (P5, scales 1,1.5, flip)",
        ),
        ({"model": "a.keras", "layer": "P5", "scaling": "bicubic"}, "a cam (P5, bicubic)"),
        ({"model": "/runs/birds.v2"}, "birds.v2 cam"),
        ({"maps": "/theirs/scoremaps"}, "scoremaps"),
    ],
)
def test_titles(given, title):
    assert EvaluationSettings(method="cam", data="d", split="test", **given).title == title


def test_a_finished_run_is_read_as_it_was_written(finished, tmp_path):
    again = StoredEvaluation(str(finished.out))
    assert (again.settings, again.metrics, again.rows) == (
        *(finished.settings, finished.metrics),
        finished.rows,
    )
    assert again.split.ids == finished.split.ids
    assert again.parts.todo() == []
    write_rows(tmp_path, again.rows)
    assert (tmp_path / "results.csv").read_bytes() == (again.out / "results.csv").read_bytes()


def test_names_with_commas_and_quotes_survive(finished, tmp_path):
    name = 'a, "b"/c.jpg'
    write_rows(tmp_path, [dataclasses.replace(finished.rows[0], id=name)])
    with (tmp_path / "results.csv").open() as file:
        assert next(csv.DictReader(file))["id"] == name


@pytest.mark.parametrize("gone", ["settings.json", "metrics.json", "results.csv"])
def test_an_unfinished_run_is_none(tmp_path, gone):
    for name in {"settings.json", "metrics.json", "results.csv"} - {gone}:
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(FileNotFoundError, match=f"no finished evaluation: there is no {gone}"):
        StoredEvaluation(tmp_path)


def test_a_file_of_too_many_brackets(finished, tmp_path):
    for name in ("settings.json", ROWS):
        (tmp_path / name).write_bytes((finished.out / name).read_bytes())
    (tmp_path / "metrics.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="cannot be read"):
        StoredEvaluation(tmp_path)

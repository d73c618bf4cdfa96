import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcam_tf import training
from fcam_tf.training import random_search
from fcam_tf.training.random_search import (
    Choice,
    Range,
    drawn,
    parse_space,
    recall_search,
    search,
)

SPACE = {
    "learning_rate": Range(0.01, 0.1, log=True),
    "loss.negative_fraction": Range(0.1, 0.9),
    "batch_size": Choice((8, 16)),
}
RECIPE = training.get("fcam", "small")


@dataclasses.dataclass
class Run:
    chosen: dict


def pretend(calls, *, diverging=()):
    """Return a training whose score follows from what was drawn."""

    def train(recipe, folder):
        calls.append(recipe)
        if folder.name in diverging:
            raise training.TrainingDivergedError("the loss is nan at step 3")
        score = 100 * recipe.learning_rate
        return Run({"epoch": 7.0, "val_PxAP": score})

    return train


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("a=1..3", "a", Range(1, 3, whole=True)),
        ("a=1..3.0", "a", Range(1, 3)),
        ("a=log:1e-9..1e-7", "a", Range(1e-9, 1e-7, log=True)),
        ("a=log:1..64", "a", Range(1, 64, log=True, whole=True)),
        ("a=-1..1", "a", Range(-1, 1, whole=True)),
        ("loss.crf=1e-9|2e-9", "loss.crf", Choice((1e-9, 2e-9))),
        ('cams=online|stored|"8"', "cams", Choice(("online", "stored", "8"))),
        ("a=true", "a", Choice((True,))),
    ],
)
def test_spaces(text, key, values):
    assert parse_space(text) == (key, values)


@pytest.mark.parametrize(
    "text", ["a", "a=", "=1..2", "a=2..1", "a=1..2..3", "a=log:0..1", "a=x..y", "a=0..inf"]
)
def test_bad_spaces(text):
    with pytest.raises(ValueError, match=r"must be KEY=LOW\.\.HIGH") as error:
        parse_space(text)
    assert repr(text) in str(error.value)


@given(
    low=st.floats(1e-9, 1e3), width=st.floats(0, 1e3), log=st.booleans(), seed=st.integers(0, 99)
)
def test_draws_stay_in_their_range(low, width, log, seed):
    value = Range(low, low + width, log).draw(np.random.default_rng(seed))
    assert low <= value <= low + width


def test_whole_numbers_reach_both_bounds():
    rng = np.random.default_rng(0)
    found = [Range(1, 3, whole=True).draw(rng) for _ in range(60)]
    assert set(found) == {1, 2, 3}
    assert all(type(value) is int for value in found)


def test_powers_of_ten_are_equally_likely():
    rng = np.random.default_rng(0)
    values = np.array([Range(1e-4, 1.0, log=True).draw(rng) for _ in range(800)])
    shares, _ = np.histogram(np.log10(values), bins=4, range=(-4, 0))
    # four standard deviations of a binomial of 1/4
    assert np.all(np.abs(shares / 800 - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 800))


def test_a_draw_depends_on_seed_number_and_key_alone():
    assert drawn(SPACE, 0, 3) == drawn(dict(reversed(SPACE.items())), 0, 3)
    assert (
        drawn(SPACE, 0, 3)["learning_rate"]
        == drawn({**SPACE, "x": Range(0, 1)}, 0, 3)["learning_rate"]
    )
    assert drawn(SPACE, 0, 3) != drawn(SPACE, 0, 4)
    assert drawn(SPACE, 0, 3) != drawn(SPACE, 1, 3)


def test_keeps_the_best_recipe(tmp_path):
    calls = []
    trials = search(pretend(calls), RECIPE, SPACE, tmp_path, draws=6)
    best = max(trials, key=lambda trial: trial.score)
    assert best.score == max(100 * recipe.learning_rate for recipe in calls)
    kept = training.get("fcam", str(tmp_path / "best.json"))
    assert kept == calls[best.number]
    assert kept.loss["crf"] == RECIPE.loss["crf"]  # what is not drawn stays
    with (tmp_path / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(6))
    assert float(rows[2]["score"]) == trials[2].score
    assert float(rows[2]["loss.negative_fraction"]) == calls[2].loss["negative_fraction"]


def test_continues_and_refuses_another_search(tmp_path):
    first = search(pretend([]), RECIPE, SPACE, tmp_path, draws=2)
    calls = []
    more = search(pretend(calls), RECIPE, SPACE, tmp_path, draws=4)
    assert more[:2] == first
    with pytest.raises(training.SettingsChangedError, match="seed"):
        search(pretend([]), RECIPE, SPACE, tmp_path, draws=2, seed=1)
    with pytest.raises(training.SettingsChangedError, match="data"):
        search(pretend([]), RECIPE, SPACE, tmp_path, draws=2, about={"data": "x"})


def test_a_diverged_training_counts_as_none_and_is_not_repeated(tmp_path):
    trials = search(pretend([], diverging={"trial-0"}), RECIPE, SPACE, tmp_path, draws=3)
    assert trials[0].score is None
    assert "nan at step 3" in (tmp_path / "trial-0" / "failed.txt").read_text()
    calls = []
    assert search(pretend(calls), RECIPE, SPACE, tmp_path, draws=3) == trials
    assert len(calls) == 2
    everything = {f"trial-{n}" for n in range(2)}
    with pytest.raises(RuntimeError, match="diverged"):
        search(pretend([], diverging=everything), RECIPE, SPACE, tmp_path / "b", draws=2)


def test_goes_on_after_a_kill_at_any_of_its_writes(tmp_path, monkeypatch):
    asked = {"draws": 2}
    writes = []

    def train(recipe, folder):
        folder.mkdir(parents=True, exist_ok=True)
        return pretend([])(recipe, folder)

    whole = search(train, RECIPE, SPACE, tmp_path / "a", draws=2, asked=asked)

    def killed(write):
        def until(path, data):
            writes.append(path.name)
            if len(writes) == last:
                raise KeyboardInterrupt
            write(path, data)

        return until

    for name in ("write_json", "write_csv"):
        monkeypatch.setattr(random_search, name, killed(getattr(random_search, name)))
    for last in range(1, 5):
        writes.clear()
        folder = tmp_path / str(last)
        with pytest.raises(KeyboardInterrupt):
            search(train, RECIPE, SPACE, folder, draws=2, asked=asked)
        assert recall_search(folder, asked) is None
        assert search(train, RECIPE, SPACE, folder, draws=2, asked=asked) == whole
        assert len(recall_search(folder, asked)) == 2
    assert {*writes} == {"best.json", "search.csv"}


def test_more_trials_than_are_asked_for_are_another_search(tmp_path):
    search(pretend([]), RECIPE, SPACE, tmp_path, draws=3, asked={"draws": 3})
    about = json.loads((tmp_path / "search.json").read_text())
    # As a search of fewer draws leaves it that was killed when it had begun.
    (tmp_path / "search.json").write_text(json.dumps({**about, "asked": {"draws": 2}}))
    for number in range(3):
        (tmp_path / f"trial-{number}").mkdir()
    assert recall_search(tmp_path, {"draws": 2}) is None


def test_refuses_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="draws"):
        search(pretend([]), RECIPE, SPACE, tmp_path, draws=0)
    calls = []
    with pytest.raises(ValueError, match="learning_rat"):
        search(pretend(calls), RECIPE, {"learning_rat": Range(0, 1)}, tmp_path, draws=2)
    for key in ("select", "val_fraction", "val_per_class", "proxy"):
        with pytest.raises(ValueError, match=f"`draw` must not change {key}"):
            search(pretend(calls), RECIPE, {key: Range(0, 1)}, tmp_path, draws=2)
    assert not calls

    def check(recipe):
        if recipe.learning_rate < 0.09:
            raise ValueError("too low")

    with pytest.raises(ValueError, match="too low"):
        search(pretend(calls), RECIPE, SPACE, tmp_path, draws=6, check=check)
    assert not calls
    assert not list(tmp_path.iterdir())


def test_the_search_is_written_down(tmp_path):
    search(pretend([]), RECIPE, SPACE, tmp_path, draws=1, about={"stage": "fcam"})
    about = json.loads((tmp_path / "search.json").read_text())
    assert about["stage"] == "fcam"
    assert about["space"]["learning_rate"] == {
        "low": 0.01,
        "high": 0.1,
        "log": True,
        "whole": False,
    }

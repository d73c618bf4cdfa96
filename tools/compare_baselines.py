"""Compares the training-time baselines with CAM, alone and as teachers of F-CAM (Tables 3 and 5).

    python tools/compare_baselines.py --data ../shared/data/pets3 --out runs/pets3-baselines

Every method gets the same: the benchmark's random search on the val split (the learning rate, and
what the method itself leaves open), then as many trainings with the best numbers as there are
seeds, and an F-CAM on top of each. All figures are from the test split: percent, mean and standard
deviation. What is trained stays in --out, and a stopped comparison goes on.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from common import print_scores, start

if TYPE_CHECKING:
    from fcam_tf import training
    from fcam_tf.data import Split

_DATA = flags.DEFINE_string("data", "shapes", "data set, as of `fcam train`")
_OUT = flags.DEFINE_string("out", None, "folder of the runs", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "name of the backbone")
_STRIDE = flags.DEFINE_integer("output_stride", 16, "pixels for one cell of the coarse map")
_RECIPE = flags.DEFINE_string("recipe", "small", "recipe of both stages")
_CLASSIFIER = flags.DEFINE_multi_string("classifier_set", [], "KEY=VALUE for the classifier")
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE for the decoder")
_METHODS = flags.DEFINE_list("methods", ["cam", "has", "cutmix", "adl", "acol", "spg", "icl"], "")
_DRAWS = flags.DEFINE_integer("draws", 8, "trainings of the search, for each method", lower_bound=1)
_SEEDS = flags.DEFINE_integer("seeds", 3, "trainings with the best numbers", lower_bound=1)
_RATE = flags.DEFINE_string("rate", "log:0.001..0.03", "learning rates to draw from")

SPACES = {
    "cam": [],
    "has": ["grid_size=8|16|32|56", "drop_rate=0.1..0.7"],
    "cutmix": ["beta=0.2..2.0", "probability=0.2..1.0"],
    "adl": ["drop_rate=0.1..0.9", "threshold=0.5..0.95"],
    "acol": ["threshold=0.5..0.95"],
    "spg": [
        *("class_high=0.5..0.9", "class_low=0.01..0.2", "side_high=0.4..0.8"),
        *("side_low=0.01..0.2", "fused_high=0.5..0.9", "fused_low=0.01..0.2"),
    ],
    "icl": [
        *("drop_rate=0.1..0.9", "high=0.7..0.95", "foreground=0.3..0.6", "low=0.05..0.3"),
        *("contrast=log:0.1..1.0", "consistency=log:0.1..1.0"),
    ],
}

TITLES = {"icl": "ICL (re-implementation)"}  # there is no public code of it


class Comparison:
    """The data, and how one classifier and one decoder on it are trained and scored."""

    def __init__(self) -> None:
        from fcam_tf import data  # noqa: PLC0415 - after the flags were read

        self.splits: dict[str, Split] = {
            name: data.load(_DATA.value, name) for name in ("train", "val", "test")
        }

    def classifier(
        self, method: str, recipe: training.ClassifierRecipe, folder: Path
    ) -> training.RunFolder:
        """Train a classifier of a method."""
        import keras  # noqa: PLC0415

        from fcam_tf import baselines, models, training  # noqa: PLC0415

        keras.backend.clear_session()
        keras.utils.set_random_seed(recipe.seed)
        train, val = self.splits["train"], self.splits["val"]
        model = models.Classifier(
            _BACKBONE.value,
            len(train.class_names),
            output_stride=_STRIDE.value,
            class_names=train.class_names,
            baseline=method if method in baselines.METHODS else None,
            options=recipe.baseline,
        )
        return training.fit_classifier(model, train, val, recipe, folder, method=method, verbose=0)

    def scores(self, method: str, seed: int, recipe: training.ClassifierRecipe) -> dict:
        """Train with the best numbers, F-CAM on top, and score both on the test split."""
        import keras  # noqa: PLC0415

        from fcam_tf import cams, models, training  # noqa: PLC0415

        folder = Path(_OUT.value, f"{method}-{seed}")
        recipe = recipe.changed([f"seed={seed}"])
        second = training.get("fcam", _RECIPE.value).changed([*_SET.value, f"seed={seed}"])
        # Of other recipes nothing is taken over: the runs in the folder then refuse to go on.
        kept = folder / "scores.json"
        recipes = json.loads(json.dumps([dataclasses.asdict(r) for r in (recipe, second)]))
        if kept.exists() and (found := json.loads(kept.read_text()))["recipes"] == recipes:
            return found["scores"]
        run = self.classifier(method, recipe, folder / "classifier")
        best = models.load(run.best)
        validation = training.Validation(self.splits["test"], recipe.crop)
        title = TITLES.get(method, method)
        found = {title: validation(cams.get(method, best).maps_and_logits)}
        keras.utils.set_random_seed(seed)
        model = models.FCAM.from_classifier(
            best, method=method, decoder_filters=second.filters, seed=seed
        )
        run = training.fit_fcam(
            model, self.splits["train"], self.splits["val"], second, folder / "fcam", verbose=0
        )
        validation = training.Validation(self.splits["test"], second.crop)
        found[f"{title} + F-CAM"] = validation(models.load(run.best).maps_and_logits)
        kept.write_text(json.dumps({"recipes": recipes, "scores": found}))
        return found

    def method(self, method: str) -> dict[str, list[dict[str, float]]]:
        """Return the scores of a method and of F-CAM on it, of each seed."""
        from fcam_tf import baselines, training  # noqa: PLC0415

        recipe = training.get("classifier", _RECIPE.value).changed(_CLASSIFIER.value)
        draws = [f"learning_rate={_RATE.value}"]
        draws += [f"baseline.{text}" for text in SPACES[method]]
        folder = Path(_OUT.value, f"search-{method}")
        training.search(
            lambda recipe, folder: self.classifier(method, recipe, folder),
            recipe,
            dict(training.parse_space(text) for text in draws),
            folder,
            draws=_DRAWS.value,
            about={"method": method, "backbone": _BACKBONE.value, "stride": _STRIDE.value},
            check=lambda recipe: recipe.baseline and baselines.get(method, **recipe.baseline),
        )
        best = training.get("classifier", str(folder / "best.json"))
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(_SEEDS.value):
            for name, scores in self.scores(method, seed, best).items():
                rows.setdefault(name, []).append(scores)
        return rows


def main() -> None:
    """Train, and print the table."""
    comparison = Comparison()
    rows: dict[str, list[dict[str, float]]] = {}
    for method in _METHODS.value:
        rows |= comparison.method(method)
    title = f"{_DATA.value}, {_BACKBONE.value}, test, %, {_SEEDS.value} seeds"
    print_scores(title, rows)


if __name__ == "__main__":
    start(main)

"""Trains F-CAM in variants on one data set, and tabulates what each reaches on its test split.

    python tools/ablation.py --data ../shared/data/pets3 --out runs/pets3
    python tools/ablation.py --data ../shared/data/pets3 --out runs/pets3 \
        --vary loss.negative_fraction=0.1,0.3,0.5,0.9

Without --vary the rows are those of the paper's Table 1: which losses take part. For each seed one
classifier is trained, and every variant starts from it; its own map is the row "CAM*". The best
epoch is chosen on the val split, all figures are from the test split: percent, mean and standard
deviation over the seeds. What is trained stays in --out, and a stopped table goes on.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags
from common import print_scores, start

_DATA = flags.DEFINE_string("data", "shapes", "data set, as of `fcam train`")
_OUT = flags.DEFINE_string("out", None, "folder of the runs", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "name of the backbone")
_STRIDE = flags.DEFINE_integer("output_stride", 16, "pixels for one cell of the coarse map")
_METHOD = flags.DEFINE_string("method", "cam", "method that teaches")
_RECIPE = flags.DEFINE_string("recipe", "small", "recipe of both stages")
_SEEDS = flags.DEFINE_integer("seeds", 3, "how many times everything is trained", lower_bound=1)
_CLASSIFIER = flags.DEFINE_multi_string("classifier_set", [], "KEY=VALUE for the classifier")
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE for the decoder")
_VARY = flags.DEFINE_string("vary", "", "KEY=VALUE,... to train with each value instead")

LOSSES = {
    "SR": ["loss.crf=0", "loss.size=0"],
    "SR + ASC": ["loss.crf=0"],
    "SR + CRF": ["loss.size=0"],
    "SR + ASC + CRF": [],
}


def _variants() -> dict[str, list[str]]:
    if not _VARY.value:
        return LOSSES
    key, _, values = _VARY.value.partition("=")
    return {f"{key}={value}": [f"{key}={value}"] for value in values.split(",")}


def _train(seed: int) -> dict[str, dict[str, float]]:
    """Train a classifier and every variant, and return the scores on the test split by name."""
    import keras  # noqa: PLC0415 - after the flags were read

    from fcam_tf import cams, data, models, training  # noqa: PLC0415

    train, val, test = (data.load(_DATA.value, name) for name in ("train", "val", "test"))
    out = Path(_OUT.value)
    keras.utils.set_random_seed(seed)
    recipe = training.get("classifier", _RECIPE.value).changed(_CLASSIFIER.value)
    classifier = models.Classifier(
        _BACKBONE.value,
        len(train.class_names),
        output_stride=_STRIDE.value,
        class_names=train.class_names,
    )
    run = training.fit_classifier(
        classifier,
        train,
        val,
        recipe.changed([f"seed={seed}"]),
        out / f"classifier-{seed}",
        method=_METHOD.value,
        verbose=0,
    )
    classifier = models.load(run.best)
    validation = training.Validation(test, recipe.crop)
    cam = cams.get(_METHOD.value, classifier)
    found = {f"{_METHOD.value.upper()}*": validation(cam.maps_and_logits)}
    for name, settings in _variants().items():
        folder = out / f"{name.replace(' ', '')}-{seed}"
        scores = folder / "test.json"
        keras.utils.set_random_seed(seed)
        recipe = training.get("fcam", _RECIPE.value).changed([*_SET.value, *settings])
        model = models.FCAM.from_classifier(
            classifier, method=_METHOD.value, decoder_filters=recipe.filters, seed=seed
        )
        recipe = recipe.changed([f"seed={seed}"])
        # At once if it is finished, and refused if it was another training.
        cache = out / f"cams-{seed}" if recipe.cams == "stored" else None
        run = training.fit_fcam(model, train, val, recipe, folder, cache=cache, verbose=0)
        if not scores.exists():
            best = models.load(run.best)
            scores.write_text(json.dumps(validation(best.maps_and_logits)))
        found[name] = json.loads(scores.read_text())
    return found


def main() -> None:
    """Train, and print the table."""
    seeds = [_train(seed) for seed in range(_SEEDS.value)]
    title = f"{_DATA.value}, {_BACKBONE.value}, test, %, {len(seeds)} seeds"
    print_scores(title, {name: [found[name] for found in seeds] for name in seeds[0]})


if __name__ == "__main__":
    start(main)

"""Trains decoders that find the object of any photo: the zoo's efficientnetlite_b0 models.

    python tools/train_general.py --data ../shared/data --out runs/general --methods cam,layercam

The classifier is the pretrained one with its 1000 ImageNet classes, as it comes. The decoder is
taught on photos of three kinds: ImageNet's by their true class, pets and small objects by the
class that the classifier predicts. No box and no mask trains; those of the pets' val split choose
the epoch. At the end the scores on the test splits of pets3 (boxes, masks) and tiny10 (boxes) are
printed, of the method's own map and of the decoder's.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from common import print_table, start

if TYPE_CHECKING:
    from fcam_tf.data import Split

_DATA = flags.DEFINE_string("data", None, "folder with in1k, pets3 and tiny10", required=True)
_OUT = flags.DEFINE_string("out", None, "folder of the runs", required=True)
_METHODS = flags.DEFINE_list("methods", ["cam"], "methods that teach, one decoder for each")
_RECIPE = flags.DEFINE_string("recipe", "small", "recipe of the decoder")
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE of the recipe to change")
_TINY = flags.DEFINE_integer("tiny", 300, "photos of tiny10 to train on")
_SEED = flags.DEFINE_integer("seed", 0, "of everything")


def _mixture(root: Path) -> Split:
    """Join what trains; label -1 where a photo's class is none of ImageNet's."""
    from fcam_tf import data  # noqa: PLC0415 - after the flags were read

    known = data.load(root / "in1k", "train")
    others = [data.load(root / "pets3", "train"), data.load(root / "tiny10", "train")]
    chosen = np.random.default_rng(0).permutation(len(others[1]))[: _TINY.value]
    others[1] = others[1].subset(np.sort(chosen))
    return dataclasses.replace(
        known,
        ids=(*known.ids, *(name for split in others for name in split.ids)),
        paths=(*known.paths, *(path for split in others for path in split.paths)),
        labels=np.concatenate([known.labels, *(np.full(len(split), -1) for split in others)]),
        sizes=None,
        boxes=None,
        masks=None,
        ignores=(),
    )


def main() -> None:
    """Train, and print the scores."""
    import keras  # noqa: PLC0415

    from fcam_tf import cams, data, models, training  # noqa: PLC0415

    root = Path(_DATA.value)
    train, val = _mixture(root), data.load(root / "pets3", "val")
    tests = {name: training.Validation(data.load(root / name, "test")) for name in _TESTS}
    recipe = training.get("fcam", _RECIPE.value).changed(_SET.value)
    rows = []
    for method in _METHODS.value:
        keras.utils.set_random_seed(_SEED.value)
        classifier = models.Classifier("efficientnetlite_b0")
        model = models.FCAM.from_classifier(classifier, method=method, seed=_SEED.value)
        folder = Path(_OUT.value, f"efficientnetlite_b0_{method}")
        run = training.fit_fcam(model, train, val, recipe, folder)
        best = models.load(run.best)
        cam = cams.get(method, classifier)
        found = {
            title: {name: validation(maps, False) for name, validation in tests.items()}
            for title, maps in ((method, cam.maps_and_logits), ("F-CAM", best.maps_and_logits))
        }
        (folder / "test.json").write_text(json.dumps(found, indent=2))
        for title, scores in found.items():
            for name, values in scores.items():
                row = [f"{values[key]:.1f}" if key in values else "" for key in _COLUMNS]
                rows.append((title if title == method else f"F-CAM on {method}", name, *row))
    print_table(f"test, %, trained on {len(train)} photos", ("maps", "data", *_COLUMNS), rows)


_TESTS = ("pets3", "tiny10")
_COLUMNS = ("PxAP", "MaxBoxAcc", "MaxBoxAccV2")

if __name__ == "__main__":
    start(main)

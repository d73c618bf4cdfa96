"""Trains decoders that find the object of any photo: the zoo's general models.

    python tools/train_general.py --data ../shared/data --out runs/general --methods layercam \
        --layers P4,P5 --scales 224,320,448 --flip --refine --in1k train,val --epochs 4 \
        --set lr_step=0 --set ema=0.99 --set loss.erosion=5 --seed 0 --seed 1 --seed 2

The classifier is the pretrained one with its 1000 ImageNet classes, as it comes. The decoder is
taught on photos of three kinds: ImageNet's by their true class, pets and small objects by the
class that the classifier predicts. No box and no mask trains; those of the pets' val split choose
the epoch, unless pets are held out: then the last epoch is kept.

With --scales, --flip or --refine the teacher's maps are those of whole photos, averaged over scales
and mirror images, aligned with the photos and stored once for all seeds. At the end the scores on
pets3 (boxes, masks) and tiny10 (boxes) are printed, of the teacher's own map and of the decoder's.
The same command goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from common import print_scores, start

if TYPE_CHECKING:
    from fcam_tf.data import Split

_DATA = flags.DEFINE_string("data", None, "folder with in1k, pets3 and tiny10", required=True)
_OUT = flags.DEFINE_string("out", None, "folder of the runs", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "efficientnetlite_b0", "a pretrained classifier")
_METHODS = flags.DEFINE_list("methods", ["cam"], "methods that teach, one decoder for each")
_LAYERS = flags.DEFINE_list("layers", [], "maps that layercam weights (default: the top map)")
_SCALES = flags.DEFINE_list("scales", [], "sides of the photo at which the teacher sees it, pixels")
_FLIP = flags.DEFINE_bool("flip", False, "let the teacher see mirror images, too")
_REFINE = flags.DEFINE_bool("refine", False, "align the teacher's maps with the photos by a CRF")
_RECIPE = flags.DEFINE_string("recipe", "small", "recipe of the decoder")
_EPOCHS = flags.DEFINE_integer("epochs", 3, "passes, the last at a tenth of the rate", 1)
_SET = flags.DEFINE_multi_string("set", [], "KEY=VALUE of the recipe to change")
_IN1K = flags.DEFINE_list("in1k", ["train"], "splits of in1k to train on")
_TINY = flags.DEFINE_integer("tiny", 200, "photos of tiny10 to train on")
_HELD_OUT = flags.DEFINE_list("held_out", [], "data sets to leave out of the training")
_SEEDS = flags.DEFINE_multi_integer("seed", [0], "of everything; one decoder for each")
_SPLIT = flags.DEFINE_enum("split", "val", ["val", "test"], "what the scores are measured on")
_MEASURED = ("pets3", "tiny10")


def _mixture(root: Path) -> Split:
    """Join what trains; label -1 where a photo's class is none of ImageNet's."""
    from fcam_tf import data  # noqa: PLC0415 - after the flags were read

    known = [data.load(root / "in1k", name) for name in _IN1K.value]
    others = {name: data.load(root / name, "train") for name in _MEASURED}
    chosen = np.random.default_rng(0).permutation(len(others["tiny10"]))[: _TINY.value]
    others["tiny10"] = others["tiny10"].subset(np.sort(chosen))
    parts = [split for name, split in others.items() if name not in _HELD_OUT.value]
    return dataclasses.replace(
        known[0],
        ids=tuple(name for split in (*known, *parts) for name in split.ids),
        paths=tuple(path for split in (*known, *parts) for path in split.paths),
        labels=np.concatenate(
            [*(split.labels for split in known), *(np.full(len(split), -1) for split in parts)]
        ),
        sizes=None,
        boxes=None,
        masks=None,
        ignores=(),
    )


def _recipe(seed: int) -> Any:
    """Return how a decoder is trained."""
    from fcam_tf import training  # noqa: PLC0415

    recipe = training.get("fcam", _RECIPE.value)
    changed = [f"epochs={_EPOCHS.value}", f"lr_step={_EPOCHS.value - 1}", f"seed={seed}"]
    if _LAYERS.value:
        changed.append(f"layer={','.join(_LAYERS.value)}")
    recipe = recipe.changed(changed + _SET.value)
    if not (_SCALES.value or _FLIP.value or _REFINE.value):
        return recipe
    scales = tuple(int(side) / recipe.crop for side in _SCALES.value) or (1.0,)
    stored = {"stored_scales": scales, "stored_flip": _FLIP.value}
    stored |= {"stored_refine": "crf" if _REFINE.value else ""}
    return dataclasses.replace(recipe, cams="stored", **stored)


def _trained(method: str, seed: int, train: Split, val: Split | None) -> Any:
    """Train a decoder, or go on with it; return the best model."""
    import keras  # noqa: PLC0415

    from fcam_tf import models, training  # noqa: PLC0415

    recipe, name = _recipe(seed), f"{_BACKBONE.value}_{method}"
    keras.utils.set_random_seed(seed)
    model = models.FCAM.from_classifier(
        models.Classifier(_BACKBONE.value), method=method, layer=recipe.layer or None, seed=seed
    )
    cache = Path(_OUT.value, f"{name}_maps") if recipe.cams == "stored" else None
    run = training.fit_fcam(
        model, train, val, recipe, Path(_OUT.value, f"{name}_seed{seed}"), cache=cache
    )
    return models.load(run.best)


def _scored(maps_and_logits: Any, measured: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{name} {metric}": values[metric]
        for name, validation in measured.items()
        for values in [validation(maps_and_logits, False)]
        for metric in ("PxAP", "MaxBoxAcc", "MaxBoxAccV2")
        if metric in values
    }


def main() -> None:
    """Train, and print the scores."""
    from fcam_tf import cams, data, training  # noqa: PLC0415

    root = Path(_DATA.value)
    train = _mixture(root)
    val = None if "pets3" in _HELD_OUT.value else data.load(root / "pets3", "val")
    measured = {
        name: training.Validation(data.load(root / name, _SPLIT.value), _recipe(0).crop)
        for name in _MEASURED
    }
    rows = {}
    for method in _METHODS.value:
        trained = [_trained(method, seed, train, val) for seed in _SEEDS.value]
        recipe = _recipe(0)
        options = {"scales": recipe.stored_scales, "flip": recipe.stored_flip}
        teacher = cams.get(method, trained[0].classifier, recipe.layer or None, **options)
        rows[f"teacher, {method}"] = [_scored(teacher.maps_and_logits, measured)]
        rows[f"F-CAM on {method}"] = [_scored(best.maps_and_logits, measured) for best in trained]
        scores = json.dumps({name: rows[name] for name in list(rows)[-2:]}, indent=2)
        Path(_OUT.value, f"{_BACKBONE.value}_{method}_{_SPLIT.value}.json").write_text(scores)
    title = f"{_SPLIT.value}, %, trained on {len(train)} photos, seeds {_SEEDS.value}"
    print_scores(title, rows)


if __name__ == "__main__":
    start(main)

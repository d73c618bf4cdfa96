"""Writes the cards of models that nobody has trained yet, and the table of all, zoo/results.csv.

    python tools/zoo_cards.py --zoo zoo

Every backbone of the paper and efficientnetlite_b0 times every method of its tables, and few-shot
full supervision (fsl), has a card, so that its architecture can be loaded by name. Entries that
exist are left alone.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from absl import app, flags

from fcam_tf.atomic import new_folder, write_atomically

_ZOO = flags.DEFINE_string("zoo", "zoo", "folder of the zoo")

BACKBONES = ("resnet50", "vgg16", "inceptionv3", "efficientnetlite_b0")
METHODS = ("cam", "gradcam", "gradcampp", "smoothgradcampp", "xgradcam", "layercam")
BASELINES = ("has", "cutmix", "adl", "acol", "spg", "icl")
FSL = "fsl"  # masks teach it; the coarse map beside its own is plain CAM


def _card(backbone: str, method: str) -> dict:
    from fcam_tf.models import BACKBONES as SPECS  # noqa: PLC0415

    spec = SPECS[backbone]
    filters = spec.decoder_filters[: 3 if spec.decoder_center else 5]
    return {
        "name": f"{backbone}_{method}",
        "status": "architecture",
        "architecture": {
            "backbone": backbone,
            "output_stride": spec.output_stride,
            "num_classes": 200,
            "class_names": None,
            "method": "cam" if method == FSL else method,
            "decoder_filters": list(filters),
            **({"baseline": method} if method in BASELINES else {}),
        },
        "trained_on": "nothing yet",
        "recipe": None,
        "scores": [],
        "threshold": "otsu",
        "input": {"colour": "RGB", "range": [0, 255], "size": 224},
        "licence": spec.licence,
        "weights": None,
        "check": None,
    }


def main(argv: list[str]) -> None:
    """Write what is missing."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    from fcam_tf.zoo.cards import CARD, check_card, read_card  # noqa: PLC0415

    root = Path(_ZOO.value)
    for backbone in BACKBONES:
        for method in (*METHODS, *BASELINES, FSL):
            card = _card(backbone, method)
            if not (root / card["name"]).exists():
                check_card(card, card["name"])
                with new_folder(root / card["name"]) as place:
                    (place / CARD).write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["name", "status", "trained_on", "data", "split", "metric", "value", "command"])
    for path in sorted(root.glob(f"*/{CARD}")):
        card = read_card(path)
        start = [card["name"], card["status"], card["trained_on"]]
        for score in card["scores"] or [{}]:
            keys = ("data", "split", "metric", "value", "command")
            writer.writerow([*start, *(score.get(key, "") for key in keys)])
    write_atomically(root / "results.csv", table.getvalue().encode())


if __name__ == "__main__":
    app.run(main)

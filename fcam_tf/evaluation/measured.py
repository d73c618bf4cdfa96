"""What is measured of an explanation, and by which numbers; `fcam_tf.metrics` has the measures."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Figure(NamedTuple):
    """A figure in metrics.json: percent, the mean over the images."""

    column: str  # of results.csv, there a fraction
    meaning: str
    better: str  # "higher" or "lower"


EXPLANATION = {
    "Deletion": Figure("deletion", "area while what is marked is deleted", "lower"),
    "Insertion": Figure("insertion", "area while what is marked is inserted", "higher"),
    "AverageDrop": Figure("drop", "score lost where only what is marked stays", "lower"),
    "Increase": Figure("increase", "images whose score rises where only that stays", "higher"),
    "ADCC": Figure("adcc", "little lost, coherent and small maps", "higher"),
    "ROAD": Figure("road", "score with the least without the most relevant, imputed", "higher"),
    "MaxSensitivity": Figure("sensitivity", "change of a map by noise, of its norm", "lower"),
    "PointingGame": Figure("pointing", "highest point at most 15 pixels from the object", "higher"),
}
CURVES = ("deletion curve", "insertion curve", "MoRF curve", "LeRF curve")


@dataclasses.dataclass(frozen=True)
class ExplanationSettings:
    """The numbers that measures of explanations are made with.

    Attributes:
        steps: of deletion and insertion; see ``metrics.deletion_curve``.
        fractions: that ROAD removes; see ``metrics.road_curves``.
        samples: noisy images for the maximal sensitivity; see ``metrics.maximal_sensitivity``.
        radius: of their noise, of 255.
        photos: how many of the first photos the randomisation of weights is checked on; 0 leaves
            it out.
        stages: in how many stages weights become random; see ``metrics.randomisation``.
        seed: of all that is random.
    """

    steps: int = 16
    fractions: list[float] = dataclasses.field(default_factory=lambda: [0.1, 0.3, 0.5])
    samples: int = 10
    radius: float = 5.1
    photos: int = 16
    stages: int = 8
    seed: int = 0

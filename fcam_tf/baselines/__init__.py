"""Methods that localise better because the classifier is trained in another way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcam_tf.baselines.acol import ACoL as ACoL
from fcam_tf.baselines.adl import ADL as ADL
from fcam_tf.baselines.base import Baseline as Baseline
from fcam_tf.baselines.cutmix import CutMix as CutMix
from fcam_tf.baselines.has import HaS as HaS
from fcam_tf.baselines.icl import ICL as ICL
from fcam_tf.baselines.spg import SPG as SPG
from fcam_tf.names import lookup

METHODS: Mapping[str, type[Baseline]] = {
    method.name: method for method in (HaS, CutMix, ADL, ACoL, SPG, ICL)
}


def get(name: str, **options: Any) -> Baseline:
    """Return a training-time baseline by its name.

    Args:
        name: one of `METHODS`.
        **options: its hyper-parameters.

    Raises:
        ValueError: no such method or option, or an option out of its range.

    Examples:
        >>> baseline = fcam_tf.baselines.get("has", drop_rate=0.3)
        >>> baseline.name
        'has'
    """
    method = lookup(METHODS, name, "baseline")
    fields = method.__dataclass_fields__
    for option in options:
        lookup(fields, option, f"option of {name!r}")
    return method(**options)

"""Models that run operation by operation: the few steps of most tests do not repay tracing them."""

import functools
import sys
from collections.abc import Callable
from typing import Any


def run_eagerly(setattr_: Callable[[Any, str, Any], None]) -> None:
    """Have all models run so, as far as Keras and ours are imported.

    Args:
        setattr_: sets an attribute: ``setattr``, or a fixture's that sets it back.
    """
    keras, autodiff = map(sys.modules.get, ("keras", "fcam_tf.cams.autodiff"))
    if keras:
        setattr_(keras.Model, "run_eagerly", keras.Model.run_eagerly.getter(lambda _: True))
    if autodiff:
        setattr_(autodiff, "compiled", autodiff.uncompiled)


def save_quickly() -> None:
    """Have Keras keep the names of attributes that it does not save, if it is imported.

    It means to, but looks for them under another name than it keeps them by, and so builds a layer
    for each layer that it saves or loads.
    """
    saving = sys.modules.get("keras.src.saving.saving_lib")
    if saving and not hasattr(saving.get_attr_skipset, "cache_info"):
        saving.get_attr_skipset = functools.cache(saving.get_attr_skipset)

"""Models that run operation by operation: the few steps of most tests do not repay tracing them."""

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

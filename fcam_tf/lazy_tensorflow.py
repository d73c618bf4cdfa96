"""TensorFlow, loaded when something of it is first used: it is slow, and other backends do without.

Use it as ``from fcam_tf import lazy_tensorflow as tf``.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module("tensorflow"), name)


def is_traced_for_xla() -> bool:
    """Tell whether a function is being traced for XLA: TensorFlow has no public way to ask."""
    control_flow_util = importlib.import_module("tensorflow.python.ops.control_flow_util")
    tf = importlib.import_module("tensorflow")
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())

"""The sub-commands of ``fcam``, one module each.

What is heavy they take as ``fcam_tf.X``, which is imported when it is first used, so that help and
wrong usage cost nothing.
"""

from fcam_tf.commands import (
    data,
    evaluate,
    export,
    localize,
    paper,
    search,
    serve,
    store_cams,
    train,
    zoo,
)

# Each adds its parser, and with it what runs.
_MODULES = (data, evaluate, export, localize, paper, search, serve, store_cams, train, zoo)
COMMANDS = tuple(module.add_to for module in _MODULES)

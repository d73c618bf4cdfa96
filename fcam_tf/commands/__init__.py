"""The sub-commands of ``fcam``, one module each."""

from fcam_tf.commands import data, evaluate, export, localize, search, train, zoo
from fcam_tf.commands.command import Command as Command

COMMANDS: dict[str, Command] = {
    "data": data.COMMAND,
    "evaluate": evaluate.COMMAND,
    "export": export.COMMAND,
    "localize": localize.COMMAND,
    "search": search.COMMAND,
    "train": train.COMMAND,
    "zoo": zoo.COMMAND,
}

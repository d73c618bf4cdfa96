"""The sub-commands of ``fcam``, one module each."""

from fcam_tf.commands import data, localize, train
from fcam_tf.commands.command import Command as Command

COMMANDS: dict[str, Command] = {
    "data": data.COMMAND,
    "localize": localize.COMMAND,
    "train": train.COMMAND,
}

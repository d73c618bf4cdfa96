"""The sub-commands of ``fcam``, one module each."""

from fcam_tf.commands import localize
from fcam_tf.commands.command import Command as Command

COMMANDS: dict[str, Command] = {
    "localize": localize.COMMAND,
}

"""What a sub-command of ``fcam`` is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from absl import flags


@dataclasses.dataclass(frozen=True)
class Command:
    """A sub-command, cheap to import: what is heavy is imported where it runs.

    Attributes:
        usage: what follows its name, ``"PHOTO... [flags]"``.
        summary: one line for ``fcam --help``.
        details: the paragraphs of its own help, examples among them.
        define: defines its flags. In the help text of a flag, the first word in back quotes stands
            for its value.
        run: does the work, given the flags and the other arguments, and returns the exit status.
            It raises `absl.app.UsageError` for what the user must write differently.
    """

    usage: str
    summary: str
    details: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[flags.FlagValues, list[str]], int]

"""What the sub-commands tell the user in the same words: what is wrong, and how things go."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app

if TYPE_CHECKING:
    from absl import flags
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints lines as they are, of any length."""
    from rich.console import Console  # noqa: PLC0415 - help does without

    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True, emoji=False)


def telling(notes: Console) -> Callable[[str], None]:
    """Return what tells the user a line."""
    return lambda text: notes.print(f"fcam: {text}")


def require(values: flags.FlagValues, *names: str) -> None:
    """Refuse a command line that lacks one of the flags named."""
    for name in names:
        if not values[name].value:
            raise app.UsageError(f"--{name} is missing")


@contextlib.contextmanager
def usage_errors(*kinds: type[Exception], prefix: str = "--") -> Iterator[None]:
    """Take errors of these kinds for wrong usage.

    Args:
        kinds: of errors.
        prefix: what arguments that a message names in back quotes get: "--" where they are flags.
    """
    try:
        yield
    except kinds as error:
        text = re.sub("`([a-z_]+)`", lambda m: prefix + m[1].replace("_", "-"), str(error))
        raise app.UsageError(text) from None


def failed(notes: Console, reason: object) -> int:
    """Tell that a job ended early and can go on; return the exit status."""
    notes.print(f"fcam: {reason}")
    notes.print("fcam: what is finished is kept; the same command goes on from there")
    return 1


def absolute(name: str) -> str:
    """Name a file or folder so that what refers to it can be used from elsewhere."""
    return str(Path(name).resolve()) if Path(name).exists() else name

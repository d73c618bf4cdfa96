"""What the sub-commands tell the user in the same words: errors, notes and results."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app

from fcam_tf.claim import FolderBusyError
from fcam_tf.names import error_text, printable, shortened

if TYPE_CHECKING:
    from rich.console import Console


def note(text: object) -> None:
    """Write a line for the user who waits."""
    sys.stderr.write(f"{text}\n")


def warn(text: object) -> None:
    """Write a line that the user should heed."""
    note(f"fcam: {text}")


def answer(text: object) -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{text}\n")


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Write a table, the first column from the left and numbers from the right."""
    from rich.console import Console  # noqa: PLC0415 - help does without
    from rich.table import Table  # noqa: PLC0415

    lines = [[str(cell) for cell in row] for row in rows]
    table = Table(title=title or None)
    for index, column in enumerate(columns):
        whole = None if index else max(len(line[0]) for line in lines)  # however narrow it is
        table.add_column(column, justify="right" if index else "left", min_width=whole)
    for line in lines:
        table.add_row(*line)
    Console(markup=False, emoji=False).print(table)


def console() -> Console:
    """Return where progress bars go, and lines as they are, of any length."""
    from rich.console import Console  # noqa: PLC0415 - help does without

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True, emoji=False)


@contextlib.contextmanager
def usage_errors(*kinds: type[Exception], are_flags: bool = True) -> Iterator[None]:
    """Take errors of these kinds for wrong usage; `Parser.error` turns arguments into flags."""
    try:
        yield
    except kinds as error:
        text = reason_of(error)
        raise app.UsageError(text if are_flags else re.sub(r"`(\w+)`", r"\1", text)) from None


def failed(error: BaseException, values: argparse.Namespace | None = None) -> int:
    """Say why a job ended early and, if its folder holds something, how it can go on.

    Args:
        error: what ended it.
        values: the arguments of a command; None of what cannot go on.

    Returns:
        The exit status.
    """
    from fcam_tf.data.split import BrokenPhotoError  # noqa: PLC0415 - help does without

    warn(reason_of(error))
    if isinstance(error, BrokenPhotoError) and not getattr(values, "skip_broken", True):
        warn("mend the photo and give the same command again, or add --skip-broken to leave it out")
        return 1
    out = getattr(values, "runs", None) or getattr(values, "out", None)
    begun = out and any(Path(out).glob("*"))  # which is silent where it may not look
    if begun and not isinstance(error, FolderBusyError):
        warn("what is finished is kept; the same command goes on from there")
    return 1


def reason_of(error: BaseException) -> str:
    """Return what an error says, without the number of one of the system."""
    if isinstance(error, OSError) and error.errno:
        name = error.filename and shortened(printable(str(error.filename)))
        return ": ".join(part for part in (name, error.strerror) if part)
    return error_text(error)


def is_tensorflows(error: BaseException) -> bool:
    """Tell whether TensorFlow's C++ side failed, such as where memory ran out."""
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    return errors is not None and isinstance(error, errors.OpError)


def absolute(name: str) -> str:
    """Name a file or folder so that what refers to it can be used from elsewhere."""
    return str(Path(name).resolve()) if Path(name).exists() else name

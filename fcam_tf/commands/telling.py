"""What the sub-commands tell the user in the same words: errors, notes and results."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from absl import app

from fcam_tf.claim import FolderBusyError, SettingsChangedError
from fcam_tf.commands.changed import by_flags
from fcam_tf.names import error_text, printable, shortened

if TYPE_CHECKING:
    from rich.console import Console


_HEADING = 11  # characters of a word in a column's heading that are kept together


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
    console = Console(markup=False, emoji=False)
    table = Table(title=title or None)
    cells = [[column, *(line[i] for line in lines)] for i, column in enumerate(columns)]
    whole = [max(map(len, column)) for column in cells]
    # The first column and words of the others are never broken, but for those of headings.
    least = [max([0, *map(len, cells[0][1:])])]
    for head, *rest in cells[1:]:
        words = [min(len(word), _HEADING) for word in head.split()]
        least.append(max([1, *words, *(len(word) for cell in rest for word in cell.split())]))
    frame = 3 * len(cells) + 1
    # A terminal breaks lines that are too long for it; a column that was cut is lost.
    console.width = max(console.width, sum(least) + frame)
    wanted = max(1, sum(whole) - sum(least))
    share = min(1.0, (console.width - sum(least) - frame) / wanted)
    for index, (column, low, high) in enumerate(zip(columns, least, whole, strict=True)):
        width = low + int(share * max(0, high - low))
        justify: Literal["left", "right"] = "right" if index else "left"
        table.add_column(column, justify=justify, width=width, overflow="fold")
    for line in lines:
        table.add_row(*line)
    console.print(table)


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
        if isinstance(error, SettingsChangedError) and error.changes:
            raise app.UsageError(by_flags(error)) from None
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

    text = reason_of(error)
    parser = getattr(values, "parser", None)
    warn(parser.with_flags(text) if parser else text)
    if isinstance(error, BrokenPhotoError) and not getattr(values, "skip_broken", True):
        warn("repair the photo and give the same command again, or add --skip-broken to skip it")
        return 1
    out = getattr(values, "runs", None) or getattr(values, "out", None)
    begun = out and any(Path(out).glob("*"))  # which is silent where it may not look
    if begun and not isinstance(error, FolderBusyError):
        warn("finished work is kept; the same command resumes from there")
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

"""``fcam data check``: is a data set what training expects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from absl import app

from fcam_tf.commands.command import Command

if TYPE_CHECKING:
    from absl import flags

_DETAILS = """\
FOLDER is a data set in the layout of the WSOL benchmark (metadata/SPLIT/image_ids.txt and so on) or
a folder of class folders, with train/ and val/ around them or without. Every image and mask is read
as training would read it. Found are lines that cannot be read, missing and broken files, wrong
sizes, boxes outside their image, empty masks, classes without images, and images that stand in two
splits; each with its file and line.

Exit status: 0 nothing is wrong, 1 something is, 2 wrong usage.

Example:
  fcam data check data/CUB"""


def _define(values: flags.FlagValues) -> None:
    """Define no flags."""
    del values


def _run(values: flags.FlagValues, arguments: list[str]) -> int:
    del values
    if len(arguments) != 2 or arguments[0] != "check":
        raise app.UsageError("say what to check: fcam data check FOLDER")
    # Imported here: NumPy and Pillow would slow help down.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from fcam_tf.data import check_dataset  # noqa: PLC0415
    from fcam_tf.data.check import SplitCounts  # noqa: PLC0415

    try:
        report = check_dataset(arguments[1])
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from None
    names = [field.name for field in dataclasses.fields(SplitCounts)]
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name == "split" else "right")
    for row in report.rows:
        table.add_row(*(str(getattr(row, name)) for name in names))
    Console().print(table)
    lines = Console(markup=False, highlight=False, soft_wrap=True, emoji=False)
    for problem in report.problems:
        lines.print(str(problem))
    for note in report.notes:
        lines.print(note)
    lines.print("nothing is wrong" if report.ok else f"{len(report.problems)} problems")
    return 0 if report.ok else 1


COMMAND = Command(
    usage="check FOLDER",
    summary="is a data set what training expects: counts, and what is wrong, by file and line",
    details=_DETAILS,
    define=_define,
    run=_run,
)

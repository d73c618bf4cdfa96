"""``fcam data check``: whether a data set is what training expects."""

from __future__ import annotations

import argparse

import fcam_tf
from fcam_tf.commands.arguments import Parser
from fcam_tf.commands.telling import answer, usage_errors

_SUMMARY = "check a data set before training: counts, and every problem by file and line"
_DETAILS = """\
DATA is a folder in the layout of the WSOL benchmark (metadata/SPLIT/image_ids.txt and so on), a
folder of class folders, with or without train/ and val/ around them, tfds:NAME, or shapes. Every
image and mask is read as training would read it. The command reports, by file and line, lines that
cannot be read, missing and broken files, wrong sizes, boxes outside their image, empty masks,
classes without images, a single class, and images that are in two splits."""
_EXAMPLES = """\
Example:
  fcam data check data/CUB"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam data``."""
    parser = fcam.command("data", "check DATA", _SUMMARY).command(
        "check", "DATA", _SUMMARY, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("data DATA", "the data set")


def _run(values: argparse.Namespace) -> int:
    with usage_errors(OSError, ValueError):
        report = fcam_tf.data.check_dataset(values.data)
    answer(report)
    count = len(report.problems)
    answer(f"{count} problem{'s' * (count != 1)}" if count else "no problems")
    return 0 if report.ok else 1

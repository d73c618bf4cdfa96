"""``fcam``: the command line."""

from __future__ import annotations

import argparse
import logging as standard_logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

import fcam_tf
from fcam_tf.claim import FolderBusyError
from fcam_tf.commands import COMMANDS
from fcam_tf.commands.arguments import Parser
from fcam_tf.commands.model import import_files
from fcam_tf.commands.telling import failed, is_tensorflows

_INTERRUPTED = 130


def main() -> int:
    """Run the command line of this process and return its exit status."""
    # Without the line of code that warns, which is none of the user's.
    warnings.formatwarning = lambda message, *_, **__: f"fcam: {message}\n"
    return run(sys.argv)


def run(argv: Sequence[str]) -> int:
    """Run a command line.

    Args:
        argv: the program's name and its arguments, ``["fcam", "localize", "cat.jpg"]``.

    Returns:
        The exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    logging.get_absl_handler().setFormatter(standard_logging.Formatter("fcam: %(message)s"))
    try:
        app.run(_run, list(argv), flags_parser=_parse)
    except SystemExit as end:
        if isinstance(end.code, str):  # of a file of --import
            return failed(end)
        return end.code or 0
    except KeyboardInterrupt:
        sys.stderr.write("\nfcam: interrupted; finished work is kept\n")
        return _INTERRUPTED


def _run(values: argparse.Namespace) -> int:
    parser: Parser = values.parser
    try:
        _check_out(getattr(values, "out", None))
        import_files(getattr(values, "imports", ()))
        return values.do(values)
    except app.UsageError as error:
        parser.error(str(error))
    except (OSError, FolderBusyError, ArithmeticError, ImportError) as error:
        return failed(error, values)
    except Exception as error:
        if not is_tensorflows(error):
            raise
        return failed(error, values)


def _check_out(out: str | None) -> None:
    """Refuse a folder of results that is a file, or below one, before anything is loaded."""
    for path in [Path(out), *Path(out).parents] if out else ():
        if os.path.lexists(path) and not path.is_dir():
            where = "" if path == Path(str(out)) else f": {path}"
            raise app.UsageError(f"--out {out}{where} is not a folder")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # noqa: PLC0415 - the shell asks for completions

        argcomplete.autocomplete(parser)
    arguments = argv[1:] or ["--help"]
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    while arguments[:1] and arguments[0] in parser.commands:
        parser = parser.commands[arguments.pop(0)]
    name = arguments[0] if arguments else ""
    if parser.prog == "fcam" and os.path.exists(name):  # noqa: PTH110 - names may be too long
        parser.error(f"{name!r} is not a command; did you mean: fcam localize {name}")
    ours, absls = parser.arrange(arguments)
    values = parser.parse_args(ours, argparse.Namespace(parser=parser))
    try:
        flags.FLAGS(["fcam", *absls])
    except flags.Error as error:
        parser.error(str(error))
    return values


def _parser() -> Parser:
    parser = Parser(
        prog="fcam",
        usage="fcam COMMAND [arguments] [flags]",
        description="What is in photos, and where, by class activation maps.",
        epilog="fcam COMMAND --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"fcam {fcam_tf.__version__}")
    for add_to in COMMANDS:
        add_to(parser)
    return parser

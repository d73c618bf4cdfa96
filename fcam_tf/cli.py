"""``fcam``: the command line."""

from __future__ import annotations

import difflib
import logging as standard_logging
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from absl import app, flags, logging

import fcam_tf
from fcam_tf.commands import COMMANDS
from fcam_tf.commands.model import import_files

if TYPE_CHECKING:
    from fcam_tf.commands import Command

_HELP = {"-h", "-help", "--help", "-?", "--helpshort", "--helpfull"}
_USAGE_ERROR, _INTERRUPTED = 2, 130


class _Call(NamedTuple):
    name: str
    values: flags.FlagValues
    arguments: list[str]


def main() -> int:
    """Run the command line of this process and return its exit status."""
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
        return end.code or 0
    except KeyboardInterrupt:
        sys.stderr.write("\nfcam: interrupted; what is finished is kept\n")
        return _INTERRUPTED


def _run(call: _Call) -> int:
    try:
        import_files(call.values)
        return COMMANDS[call.name].run(call.values, call.arguments)
    except app.UsageError as error:
        _fail(str(error), call.name)


def _parse(argv: list[str]) -> _Call:
    name, *arguments = argv[1:] or ["--help"]
    if name == "help" and arguments:
        name, arguments = arguments[0], ["--help"]
    if name in _HELP or name == "help":
        _show(_overview())
    if name == "--version":
        _show(f"fcam {fcam_tf.__version__}")
    if name not in COMMANDS:
        _fail(_unknown_command(name))

    values = flags.FlagValues()
    COMMANDS[name].define(values)
    if _HELP.intersection(arguments[: arguments.index("--")] if "--" in arguments else arguments):
        _show(_help(name, COMMANDS[name], values))
    try:
        # What the command does not know may be absl's own, such as --verbosity.
        for known in (values, flags.FLAGS):
            known.set_gnu_getopt()  # flags may follow the photos
        rest = values(["fcam", *_underscored(arguments, values)], known_only=True)
        return _Call(name, values, flags.FLAGS(rest)[1:])
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(_dashed(error.flagname), map(_dashed, values))
        hint = f"; did you mean --{' or --'.join(close)}?" if close else ""
        _fail(f"unknown flag --{_dashed(error.flagname)}{hint}", name)
    except (flags.Error, ValueError) as error:
        _fail(re.sub(r"--\w+", lambda flag: _dashed(flag[0]), str(error)), name)


def _underscored(arguments: list[str], values: flags.FlagValues) -> Iterator[str]:
    """Spell flags as they are defined: ``--batch-size`` is ``--batch_size``."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            yield argument
            yield from remaining
            return
        flag, equals, value = argument.partition("=")
        spelled = flag.lstrip("-").replace("-", "_")
        known = any(n in values or n in flags.FLAGS for n in (spelled, spelled.removeprefix("no")))
        yield f"--{spelled}{equals}{value}" if argument.startswith("-") and known else argument


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _unknown_command(name: str) -> str:
    if Path(name).exists():
        return f"{name!r} is no command; did you mean: fcam localize {name}"
    close = difflib.get_close_matches(name, COMMANDS)
    hint = f"; did you mean {' or '.join(close)}?" if close else f"; there is {', '.join(COMMANDS)}"
    return f"unknown command {name!r}{hint}"


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "fcam: what is in photos, and where, by class activation maps",
            "\nUsage: fcam COMMAND [arguments] [flags]",
            "\nCommands:",
            *lines,
            "\nfcam COMMAND --help tells more. fcam --version tells the version.",
        ]
    )


def _help(name: str, command: Command, values: flags.FlagValues) -> str:
    columns = min(100, shutil.get_terminal_size().columns)
    lines = [f"fcam {name}: {command.summary}", f"\nUsage: fcam {name} {command.usage}\n"]
    lines += [command.details, "\nFlags:"]
    for flag in map(values.__getitem__, values):
        quoted = re.search("`(.+?)`", flag.help)
        choices = getattr(flag.parser, "enum_values", None)
        value = "|".join(choices) if choices else quoted[1] if quoted else ""
        default = "" if flag.default in (None, False) else f" (default: {flag.default})"
        text = flag.help.split(">: ")[-1].replace("`", "") + default  # absl puts choices before
        lines.append(f"  --{_dashed(flag.name)} {value}".rstrip())
        lines += textwrap.wrap(text, columns, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _show(text: str) -> NoReturn:
    sys.stdout.write(f"{text}\n")
    sys.exit(0)


def _fail(message: str, name: str | None = None) -> NoReturn:
    command = f"fcam {name}" if name else "fcam"
    sys.stderr.write(f"{command}: {message}\nSee {command} --help\n")
    sys.exit(_USAGE_ERROR)

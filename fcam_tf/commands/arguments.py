"""What argparse lacks for the sub-commands, and the flags that several of them share."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

from absl import flags

from fcam_tf import checks
from fcam_tf.commands.model import complete_model
from fcam_tf.names import BASELINES, FCAM_MAP, METHODS, RECIPES, lookup

_STATUS = "Exit status: 0 all went well, 1 something failed, 2 wrong usage, 130 interrupted."


class Parser(argparse.ArgumentParser):
    """A parser of short definitions that suggests what may have been meant.

    Attributes:
        commands: its sub-commands by name.
    """

    def __init__(self, *, epilog: str = "", **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            epilog=f"{epilog}\n\n{_STATUS}".lstrip(),
            **options,
        )
        absls = ("-?", "--helpshort", "--helpfull")
        self.add_argument(*absls, action="help", help=argparse.SUPPRESS)
        self.commands: dict[str, Parser] = {}

    def command(
        self,
        name: str,
        usage: str,
        summary: str,
        *,
        details: str = "",
        examples: str = "",
        run: Callable[[argparse.Namespace], int] | None = None,
    ) -> Parser:
        """Add a sub-command: its usage follows its name, its examples follow its arguments."""
        if not self.commands:
            action = self.add_subparsers(title="commands", metavar="COMMAND", prog=self.prog)
            self.commands = action.choices
            self._add = action.add_parser
        usage, details = f"{self.prog} {name} {usage}", details or summary
        parser = self._add(name, usage=usage, help=summary, description=details, epilog=examples)
        parser.set_defaults(do=run)
        return parser

    def add(self, spec: str, text: str, *, completer: Any = None, **options: Any) -> None:
        """Add a flag, or an argument by its place.

        Args:
            spec: its names and value, ``"-o --out FOLDER"``. None makes a switch, ``VALUE...`` may
                be repeated, and words in small letters, ``png|npy``, are all that there is.
            text: what it means; a default is added.
            completer: gives the shell what it completes.
            **options: more for ``add_argument``.
        """
        *names, value = spec.split()
        if value.startswith("-"):
            self.add_argument(*names, value, action="store_true", help=text)
            return
        if value.endswith("..."):
            options |= {"action": "append", "default": []}
            text += "; may be repeated"
        if re.fullmatch("[a-z|]+", value):
            options["choices"] = value.split("|")
        if "choices" in options:
            options["type"] = _one_of(options["choices"], repeated="action" in options)
        if names[0].startswith("-") and options.get("default"):
            text += " (default: %(default)s)"
        value = value.removesuffix("...")
        action = self.add_argument(*names, metavar=value, help=text, **options)
        action.completer = completer  # type: ignore[attr-defined]  # argcomplete looks for it

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where help is in another; exit with status 2."""
        text = self.with_flags(_plainer(message.removeprefix("argument ")))
        self.exit(2, f"{self.prog}: {text}\nSee {self.prog} --help\n")

    def with_flags(self, message: str) -> str:
        """Return a message about arguments, such as `batch_size`, as one about flags."""

        def as_typed(name: re.Match[str]) -> str:
            flag = flag_of(name[1])
            return flag if flag in self._option_string_actions else name[1]

        return re.sub("`([-a-z_.]+)`", as_typed, message)

    def arrange(self, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide arguments into those of this parser and flags of absl.

        Returns:
            Ours, with flags in one place, as argparse wants them, and spelt as they are defined:
            ``--batch_size`` is ``--batch-size``; and absl's.
        """
        known = self._option_string_actions
        ours: list[str] = []
        others: list[str] = []
        absls: list[str] = []
        remaining = iter(arguments)
        for argument in remaining:
            flag, equals, value = argument.partition("=")
            name = flag if flag in known else "--" + flag.lstrip("-").replace("_", "-")
            absl_name = name[2:].replace("-", "_")
            if argument == "--":
                others += remaining
            elif argument == "-" or not argument.startswith("-"):
                others.append(argument)
            elif name in known:
                ours += self._with_value(name, [value] * bool(equals), remaining)
            elif argument[:2] in known:  # -b4
                ours.append(argument)
            elif absl_name in flags.FLAGS:
                absls += [argument]
                absls += islice(remaining, not equals and not flags.FLAGS[absl_name].boolean)
            else:
                self._unknown(flag, name)
        if self.commands and others:
            try:
                lookup(self.commands, others[0], "command")
            except ValueError as error:
                self.error(str(error))
        elif self.commands and not ours:
            self.error(f"a command is missing. Available: {', '.join(self.commands)}")
        dashed = any(argument.startswith("-") for argument in others)
        return [*ours, "--", *others] if dashed else [*others, *ours], absls

    def _unknown(self, flag: str, name: str) -> NoReturn:
        known = self._option_string_actions.items()
        shown = [each for each, action in known if action.help != argparse.SUPPRESS]
        near = " or ".join(difflib.get_close_matches(name, shown))
        if name[2:] in self.commands:
            near = f"{self.prog} {name[2:]}"
        self.error(f"unknown flag {flag}{near and f'; did you mean {near}?'}")

    def _with_value(self, name: str, given: list[str], remaining: Iterator[str]) -> list[str]:
        value = given or [*islice(remaining, self._option_string_actions[name].nargs != 0)]
        if "" in value:  # such as of a shell's variable that is not set
            self.error(f"{name} is empty; give a value, or leave it out")
        return [f"{name}={given[0]}"] if given else [name, *value]


def flag_of(name: str) -> str:
    """Return the flag that an attribute of the parsed arguments comes from."""
    return f"--{name.replace('_', '-')}"


def given(values: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Return those of some attributes whose flags have another value than the default."""
    return [name for name in names if getattr(values, name) != values.parser.get_default(name)]


def _plainer(message: str) -> str:
    """Return what argparse says in words of those who have not read about it."""
    flag, _, reason = message.partition(": ")
    flag = flag.rpartition("/")[2]  # -o/--out
    if value := re.fullmatch("ignored explicit argument (['\"])(.*)\\1", reason):
        return f"{flag} takes no value: give it, or leave it out. Received: {value[2]}"
    if kind := re.fullmatch("invalid (float|int) value: '(.*)'", reason):
        return f"{flag} must be a {'whole ' * (kind[1] == 'int')}number. Received: {kind[2]}"
    return f"{flag} needs a value" if reason == "expected one argument" else message


def _one_of(names: Iterable[str], *, repeated: bool) -> Callable[[str], str]:
    def known(text: str) -> str:
        if repeated and "," in text and set(text.split(",")) <= set(names):
            message = f"takes one value; give it once for each. Received: {text}"
            raise argparse.ArgumentTypeError(message)
        try:
            lookup(dict.fromkeys(names), text, "value")
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return known


def positive(text: str, others: str = "") -> int:
    """Read a whole number above 0; ``others`` is what else may be given, for the message."""
    if not text.isdecimal() or not int(text):
        message = f"must be {others}a whole number, 1 or more. Received: {text}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _scales(text: str) -> list[float]:
    try:
        return sorted(map(float, text.split(",")))
    except ValueError:
        message = f"must be numbers separated by commas, such as 1,1.5,2. Received: {text}"
        raise argparse.ArgumentTypeError(message) from None


def _grid(text: str) -> list[int]:
    sides = text.split(",")
    if len(sides) != 2 or not all(map(str.isdecimal, sides)):
        message = f"must be a height and a width, such as 14,14. Received: {text}"
        raise argparse.ArgumentTypeError(message)
    return [int(side) for side in sides]


def add_import(parser: Parser) -> None:
    """Add the flag that names the code of custom layers."""
    text = "Python file to run first; it defines layers that a .keras file uses"
    parser.add("--import FILE.py...", text, dest="imports")


def add_model(parser: Parser, default: str | None = None) -> None:
    """Add the flags that say which model."""
    parser.add(
        "-m --model MODEL",
        "name of a model (fcam zoo list) or of a pretrained classifier, a .keras file, or the "
        "folder of a training run",
        default=default,
        completer=complete_model,
    )
    add_import(parser)


def add_answers(parser: Parser) -> None:
    """Add flags of what an exported or served model answers."""
    parser.add(
        "--method METHOD",
        "how heat maps are made: %(choices)s (default: as for fcam localize; a .tflite or .onnx "
        "file takes fcam and methods without gradients, such as cam)",
        choices=(FCAM_MAP, *METHODS, *BASELINES),
    )
    parser.add("--layer NAME,NAME", "layers whose maps are weighted, as for fcam localize")
    parser.add(
        "-t --threshold otsu|0..1",
        "threshold of an object, as a fraction of the map's maximum (default: the model's own)",
    )
    parser.add(
        "--flip",
        "average the heat maps of each image and its mirror image, in about twice the time",
    )


def answer_options(values: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_answers` adds, as `fcam_tf.export.export` takes it."""
    layers = values.layer.split(",") if values.layer else None
    return {
        "method": values.method,
        "layer": layers,
        "threshold": values.threshold,
        "flip": values.flip,
    }


def add_maps(parser: Parser, *, batch_size: int) -> None:
    """Add flags of commands that make heat maps."""
    parser.add(
        "--layer NAME,NAME",
        "layers whose maps are weighted: levels such as P5, or layer names; layercam fuses several "
        "(default: the top map)",
        default="",
    )
    parser.add(
        "--scales SCALE,SCALE",
        "average the maps of each photo at several sizes relative to its own, such as 1,1.5,2; the "
        "time grows with the pixels, here 7 times; not for a decoder, or a model that takes images "
        "of one size only",
        type=_scales,
    )
    parser.add(
        "--flip", "average the maps of each photo and its mirror image, in about twice the time"
    )
    parser.add(
        "--grid HEIGHT,WIDTH",
        "grid of a transformer's tokens, if it does not follow from their number",
        type=_grid,
    )
    text = (
        "crf: align the heat map with the edges of the photo by inference in a dense CRF; "
        "localize does so at the photo's own resolution, up to 12 megapixels"
    )
    parser.add("--refine crf", text)
    parser.add("-b --batch-size N", "photos per batch", type=positive, default=batch_size)
    parser.add("--overwrite", "redo what is already done")


MAP_OPTIONS = ("scales", "flip", "grid", "refine")  # what `add_maps` adds for the method


def map_options(values: argparse.Namespace) -> dict[str, Any]:
    """Return the method's options that were given, as the settings of a folder keep them.

    Raises:
        ValueError: the scales are none.
    """
    options = {name: getattr(values, name) for name in given(values, MAP_OPTIONS)}
    if "scales" in options:
        checks.scales(options["scales"])
    if options.get("scales") == [1]:  # as without
        del options["scales"]
    return options


def add_skip_broken(parser: Parser) -> None:
    """Add the flag that leaves photos out."""
    text = "decode all photos first, and leave out those that cannot be read"
    parser.add("--skip-broken", text)


def add_recipe(parser: Parser, *, required: bool = True) -> None:
    """Add the flags that say on what is trained, and by which numbers."""
    parser.add("-d --data DATA", "data set to train on", required=required)
    text = f"settings of the training: {', '.join(RECIPES)}, or a JSON file"
    parser.add("-r --recipe NAME|FILE.json", text, default="cub")
    parser.add("-s --set KEY=VALUE...", "change a setting of the recipe")


def add_training(parser: Parser, *, several: bool = False, machines: bool = False) -> None:
    """Add flags of all that trains: data, recipe, and how a backbone is built.

    Args:
        parser: what to add to.
        several: for a command that trains several backbones, and may do without data.
        machines: for a command that can train on several.
    """
    add_recipe(parser, required=not several)
    parser.add(
        "--output-stride STRIDE",
        "pixels per cell of the coarse map, for a backbone given by name: 8, 16 or 32",
        choices=("8", "16", "32"),
    )
    text = "initial weights of a backbone given by name"
    if several:
        text += ", or of all: imagenet (the default), none or a file"
        parser.add("--weights WEIGHTS|NAME=WEIGHTS,NAME=WEIGHTS...", text)
    else:
        parser.add("--weights imagenet|none|FILE", text, default="imagenet")
    text = "mirrored: share each batch among all GPUs"
    if machines:
        text += "; multiworker: among the machines that TF_CONFIG names"
    choices = "single|mirrored|multiworker" if machines else "single|mirrored"
    parser.add(f"--strategy {choices}", text, default="single")
    add_skip_broken(parser)


def add_cams(parser: Parser) -> None:
    """Add the flag that says where stored maps are."""
    text = "folder of stored coarse maps, which runs may share (default: in the run's folder)"
    parser.add("--cams FOLDER", text)

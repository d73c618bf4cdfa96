"""``fcam serve``: a model behind HTTP, for programs and for a browser."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app

import fcam_tf
from fcam_tf.commands.arguments import (
    Parser,
    add_answers,
    add_import,
    answer_options,
    positive,
)
from fcam_tf.commands.model import Model, complete_model, find_model
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import note, usage_errors

if TYPE_CHECKING:
    from fcam_tf.serving.served import Served

_DETAILS = """\
MODEL is the name of a model in the zoo or of a pretrained classifier, a file saved as .keras, the
folder of a training run, or what fcam export wrote: a SavedModel, or the folder of its versions.
Needs pip install 'fcam_tf[serve]'.

  GET  /                        a page to try photos on
  POST /localize                a photo, as the body or as a file of a form, gives JSON of label,
                                label_name, score and box; ?overlay=true adds the picture
  POST /v1/models/NAME:predict  and GET /v1/models/NAME[/metadata], as TensorFlow Serving has them
  GET  /healthz                 200 when the model is loaded and warmed up, 503 before
  GET  /metrics                 for Prometheus

Anyone who can reach the port can use it: there are no passwords and no encryption. On SIGTERM and
SIGINT (Ctrl-C) it answers the requests that it has begun, and ends."""
_EXAMPLES = """\
Examples:
  fcam serve efficientnetlite_b0_layercam
  fcam serve serving/fcam --port 8502
  curl --data-binary @cat.jpg http://127.0.0.1:8501/localize"""


def add_to(fcam: Parser) -> None:
    """Add ``fcam serve``."""
    summary = "serve a model over HTTP, with a page to try photos on"
    parser = fcam.command(
        "serve", "MODEL [flags]", summary, details=_DETAILS, examples=_EXAMPLES, run=_run
    )
    parser.add("model MODEL", "what to serve", completer=complete_model)
    parser.add("--host ADDRESS", "address to listen at", default="127.0.0.1")
    parser.add("--port N", "port to listen at; 0 takes a free one", type=_port, default=8501)
    parser.add("--name NAME", "name in the paths (default: the model's)")
    add_answers(parser)
    parser.add("--batch N", "maximum images per batch", type=positive, default=8)
    parser.add("--delay MS", "ms that an image waits for others", type=positive, default=5)
    parser.add(
        "--waiting N", "maximum requests at a time; others get 503", type=positive, default=64
    )
    parser.add("--max-megabytes N", "maximum size of a request", type=positive, default=16)
    parser.add(
        "--max-megapixels N", "maximum size of a request's photos", type=positive, default=50
    )
    parser.add("--timeout S", "maximum seconds for an answer", type=positive, default=30)
    add_import(parser)


def _run(values: argparse.Namespace) -> int:
    try:
        from fcam_tf.serving.running import listen, serve  # noqa: PLC0415 - an extra
        from fcam_tf.serving.service import Limits  # noqa: PLC0415
    except ImportError as error:
        raise app.UsageError(f"{error}; pip install 'fcam_tf[serve]'") from None
    limits = Limits(
        waiting=values.waiting,
        batch=values.batch,
        delay=values.delay / 1000,
        body=values.max_megabytes * 2**20,
        pixels=values.max_megapixels * 10**6,
        timeout=values.timeout,
    )
    load = _loader(values)
    name = values.name or _name_of(values.model)
    if not re.fullmatch(r"[\w.-]+", name):
        raise app.UsageError(f"--name must be letters, digits and ._- only. Received: {name}")
    listening = listen(values.host, values.port)
    note(f"Loading {values.model} ...")
    kinds = (TypeError, ValueError, FileNotFoundError)
    with usage_errors(*kinds):
        serve(load, name, limits, listening, lambda url: note(f"{name} is served at {url}"))
    note("stopped")
    return 0


def _loader(values: argparse.Namespace) -> Callable[[], Served]:
    """Return what loads the model; what can be told without TensorFlow is refused at once."""
    from fcam_tf.serving.folders import saved_model_folder  # noqa: PLC0415

    options = answer_options(values)
    folder = saved_model_folder(values.model)
    if folder:
        if given := [name for name, value in options.items() if value]:
            raise app.UsageError(
                f"--{given[0]} is for models that are not exported yet, unlike {folder}"
            )
        return functools.partial(_exported, folder)
    return functools.partial(_in_memory, find_model(values.model), options)


def _exported(folder: Path) -> Served:
    with quiet_tensorflow():
        from fcam_tf.serving import served  # noqa: PLC0415 - TensorFlow

        return served.of_saved_model(folder)


def _in_memory(model: Model, options: dict[str, Any]) -> Served:
    with quiet_tensorflow():
        from fcam_tf.answers import Answers  # noqa: PLC0415 - TensorFlow
        from fcam_tf.serving import served  # noqa: PLC0415

        return served.of_answers(Answers(fcam_tf.predict.Localizer(model.load(), **options)))


def _name_of(model: str) -> str:
    path = Path(model).resolve() if Path(model).exists() else Path(model)
    path = path.with_suffix("") if path.suffix == ".keras" else path
    return path.parent.name if path.name.isdigit() else path.name


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535. Received: {text}")
    return int(text)

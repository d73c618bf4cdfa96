"""Targets of fuzz.py: command lines, and requests to the server."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
import threading
import urllib.parse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from fastapi.testclient import TestClient
from fuzz_engine import FaultError, Target
from PIL import Image

import fcam_tf
import fcam_tf.visualize
from fcam_tf import cli
from fcam_tf.commands.paper import WHATS
from fcam_tf.serving import running
from fcam_tf.serving.app import make_app
from fcam_tf.serving.served import Served, Signature
from fcam_tf.serving.service import Limits, Service

_MODEL = "tiny"
_SLOW = {"shapes", "tfds:"}  # data sets that would be made


def _photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(4, 8, 3)).save(file, "PNG")
    return file.getvalue()


PHOTO = _photo()


def _refuse(*_: Any, **__: Any) -> Any:
    raise OSError("what a fuzzer has no time for")


def _arguments(data: bytes, place: Path) -> None:
    """Run a command line, a word a line, up to where it would load a model or train one.

    "PLACE" in a word is a folder with a photo, a recipe, and two data sets, one damaged.
    """
    texts = {
        "image_ids": "a.png\nb.png\n",
        "class_labels": "a.png,0\nb.png,1\n",
        "image_sizes": "a.png,8,4\nb.png,8,4\n",
        "localization": "a.png,0,0,4,4\nb.png,1,1,8,4\n",
    }
    for split in ("train", "val", "test"):
        metadata = place / "sound" / "metadata" / split
        metadata.mkdir(parents=True)
        for name, text in texts.items():
            (metadata / f"{name}.txt").write_text(text, "ascii")
    for photo in ("cat.png", "sound/a.png", "sound/b.png"):
        (place / photo).write_bytes(PHOTO)
    (place / "m.keras").touch()
    (place / "recipe.json").write_text("{}", "ascii")
    (place / "data" / "metadata" / "train").mkdir(parents=True)
    (place / "data" / "metadata" / "train" / "image_ids.txt").write_text("../cat.png", "ascii")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    words = [line.replace("PLACE", str(place)) for line in lines if line not in _SLOW]
    if any(word.startswith("--open") or "import" in word for word in words):
        return  # a browser, and code of the user's own
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        contextlib.chdir(place),
    ):
        status = cli.run(["fcam", *words])
    if status not in (0, 1, 2):
        raise FaultError(f"the status is {status}")
    if status and not said.getvalue().strip():
        raise FaultError("nothing was said")
    if "Traceback" in said.getvalue():
        raise FaultError("there was a traceback")


def _stubbed() -> None:
    """Let commands find everything, and begin nothing that takes long."""
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    fcam_tf.zoo.load = fcam_tf.models.load = fcam_tf.models.Classifier = _refuse
    fcam_tf.training.train = fcam_tf.training.search = fcam_tf.models.FCAM = _refuse
    running.listen = _refuse
    for what in WHATS:
        WHATS[what] = _refuse


def _seed_arguments() -> list[bytes]:
    lines = (
        "localize PLACE/cat.png --model resnet50_layercam --out PLACE/out --top 2 --report",
        "localize PLACE/none.jpg PLACE/* --label cat --threshold 0.5 --heatmap npy -b4",
        "localize PLACE/cat.png --annotations coco --table csv --method cam --layer P4,P5 --flip",
        "data check PLACE/data",
        "evaluate --data PLACE/sound --out PLACE/e --method center --split train",
        "train classifier --data PLACE/sound --out PLACE/r --model resnet50 --set epochs=1",
        "train fcam --recipe PLACE/recipe.json -d PLACE/sound -o PLACE/r -m PLACE/m.keras",
        "search fcam -d PLACE/sound -o PLACE/s -m PLACE/m.keras --draw loss.crf=1e-9..1e-7",
        "paper table4 --out PLACE/p --backbones resnet50 --rounds 2",
        "zoo list resnet50_*",
        "zoo show resnet50_layercam",
        "zoo make resnet50_cam -d PLACE/sound --licence x --trained-on y -o o --run PLACE/m.keras",
        "serve resnet50_layercam --port 0 --name a --timeout 3",
        "export resnet50_layercam PLACE/x.onnx --threshold 0.5",
        "help localize",
        "--version",
    )
    return [line.replace(" ", "\n").encode() for line in lines]


def _words() -> tuple[str, ...]:
    """Return all commands and flags that there are."""
    found, parsers = set[str](), [cli._parser()]  # noqa: SLF001 - the only list of them
    while parsers:
        parser = parsers.pop()
        found |= {*parser.commands, *parser._option_string_actions}  # noqa: SLF001
        parsers += parser.commands.values()
    return tuple(sorted(found - {"--open", "--import"}))


def _served() -> Served:
    """Return a model that finds the same in every photo."""

    def pixels(images: Any) -> dict[str, Any]:
        count = tf.shape(images)[0]
        found = {"label": tf.zeros([count], tf.int64), "score": tf.ones([count])}
        found |= {"heatmap": tf.ones([count, 4, 4]), "boxes": tf.ones([count, 4], tf.int32)}
        return found

    def files(images: Any) -> dict[str, Any]:
        def decoded(file: Any) -> Any:
            return tf.image.resize(tf.io.decode_image(file, 3, expand_animations=False), [4, 4])

        return pixels(tf.map_fn(decoded, images, fn_output_signature=tf.float32))

    shape = (None, None, None, 3)
    kinds = {
        "serve_uint8": (shape, tf.uint8, pixels),
        "serving_default": (shape, tf.float32, pixels),
    }
    kinds["serve_bytes"] = ((None,), tf.string, files)
    outputs = {"score": SimpleNamespace(dtype=tf.float32, shape=(None,))}
    signatures = {
        name: Signature("images", tf.TensorSpec(shape, kind, "images"), outputs, function)
        for name, (shape, kind, function) in kinds.items()
    }
    return Served(signatures, (4, 4), ["cat"])


class _Server:
    """An application that is started when it is first asked."""

    client: TestClient | None = None

    @classmethod
    def get(cls) -> TestClient:
        if cls.client is None:
            ready = threading.Event()
            limits = Limits(body=20_000, pixels=10_000, timeout=8)
            app = make_app(Service(_served, limits, _refuse, ready.set), _MODEL)
            cls.client = TestClient(app).__enter__()
            ready.wait()
        return cls.client


_PATHS = (
    *("/localize", "/localize?overlay=true", f"/v1/models/{_MODEL}:predict", "/", "/healthz"),
    *(f"/v1/models/{_MODEL}", f"/v1/models/{_MODEL}/metadata", "/metrics", "/openapi.json"),
    f"/v1/models/{_MODEL}/versions/1:predict",
)
_TYPES = ("application/json", "image/jpeg", "multipart/form-data; boundary=x", "text/plain", "")
_METHODS = ("POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE")


def _request(data: bytes, place: Path) -> None:
    """Send a request: a byte each for its path, type and method, words of its own, and a body.

    Instead of a known path and type it may have one of its own, in the first line.
    """
    del place
    head, _, body = data[3:].partition(b"\n")
    which, kind, verb = [*data[:3], 0, 0, 0][:3]
    own = head.decode("latin-1")
    path = (
        _PATHS[which]
        if which < len(_PATHS)
        else "/" + urllib.parse.quote(own.lstrip("/"), "/:?=&%")
    )
    said = _TYPES[kind % len(_TYPES)] + ("" if which >= len(_PATHS) else own)
    said = "".join(c for c in said if " " <= c < "\x7f")
    answer = _Server.get().request(
        _METHODS[verb % len(_METHODS)], path, content=body, headers={"content-type": said}
    )
    if answer.status_code >= 500:
        raise FaultError(f"the status is {answer.status_code}: {answer.text[:100]}")
    if answer.status_code >= 400 and verb % len(_METHODS) != 5 and not answer.json()["error"]:
        raise FaultError("an error says nothing")


def _seed_requests() -> list[bytes]:
    b64 = {"b64": base64.b64encode(PHOTO).decode()}
    bodies: list[Any] = [
        {"instances": [[[[1, 2, 3]]]], "signature_name": "serve_uint8"},
        {"inputs": {"images": [[[[1.5, 2, 3]]]]}},
        {"signature_name": "serve_bytes", "instances": [b64]},
    ]
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
    return [
        b"\0\1\0\n" + PHOTO,
        b"\1\1\0\n" + PHOTO,
        b"\0\2\0\n" + form + PHOTO + b"\r\n--x--\r\n",
        *(b"\2\0\0\n" + json.dumps(body).encode() for body in bodies),
        *(bytes([index, 0, 3]) + b"\n" for index in range(3, len(_PATHS))),
        b"\xff\0\3/v1/models/tiny/versions/2\n",
    ]


_stubbed()
TARGETS = {
    "arguments": Target(_arguments, (), _seed_arguments, words=_words()),
    "request": Target(_request, (), _seed_requests),
}

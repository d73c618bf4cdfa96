"""The page of an output folder, to look at its maps, review them, and export boxes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from fcam_tf.atomic import write_atomically
from fcam_tf.claim import SETTINGS, read_settings
from fcam_tf.names import told
from fcam_tf.predict.gallery_photo import ASSETS, MAP_SIDE, PICTURES, Picture, entry_of
from fcam_tf.predict.outputs import read_results
from fcam_tf.streams import lookahead, progress
from fcam_tf.visualize import INFERNO

if TYPE_CHECKING:
    import rich.console

REPORT = "report.html"
_SCRIPTS = ("maps", "export", "state", "cards", "page")  # in this order


def write_gallery(
    folder: str | os.PathLike[str],
    *,
    single: bool = False,
    console: rich.console.Console | None = None,
) -> Path:
    """Write OUT/report.html, a card for each photo of a folder of `localize_files`.

    On the page, boxes can be drawn at other thresholds, accepted or rejected, and the accepted ones
    saved as COCO JSON or as CSV. The page needs no network. For each photo, a picture and its maps
    at low resolution are made once, below OUT/report. A photo that is missing or has changed has no
    picture; one without a heat map has only the boxes that were found.

    Args:
        folder: the output folder. No other process may be writing to it.
        single: whether to put the pictures and maps into the page, about 20 kB per photo, so that
            it is one file. It has no links to the photos' overlays.
        console: for a progress bar.

    Returns:
        The page. An earlier page is replaced at the end, and files that only it needed are removed.

    Raises:
        ValueError: there are no results in the folder.
        OSError: a file cannot be written; an earlier page is unchanged.
    """
    folder = Path(folder)
    records = list(read_results(folder))
    if not records:
        raise ValueError(f"{folder} holds no results to report on; localise photos into it first.")
    names = [record.get("source") or record["file"] for record in records]
    root = _common_folder(names)
    pictures = [Picture(folder, record) for record in records]
    if not single:
        (folder / ASSETS).mkdir(exist_ok=True)
    bar = progress("Pictures of the report", len(records), 0, "photos", console)
    photos: list[dict[str, Any]] = []
    with ThreadPoolExecutor(min(4, 1 + (os.cpu_count() or 1))) as pool, bar as advance:
        make = Picture.inlined if single else Picture.written
        for picture, made in zip(pictures, lookahead(pool, make, pictures, 16), strict=True):
            name = names[len(photos)].removeprefix(root)
            photos.append(entry_of(picture, name, links=not single) | made)
            advance()
    page = folder / REPORT
    write_atomically(page, _page(folder, photos, root).encode())
    _remove_others(folder, set() if single else {name for p in pictures for name in p.names})
    return page


def _page(folder: Path, photos: Sequence[dict[str, Any]], root: str) -> str:
    settings, notes = read_settings(folder / SETTINGS)
    made_with = notes.get("made_with") or {}
    facts = {name: made_with.get(name, settings.get(name)) for name in ("method", "threshold")}
    facts = {"model": notes.get("model"), **facts, **settings.get("options", {})}
    objects = [found for photo in photos for found in photo["classes"]]
    data = {
        # The verdicts on results of the same settings are the same, wherever the folder is.
        "key": hashlib.sha256(json.dumps([settings, made_with]).encode()).hexdigest()[:16],
        "root": root,
        "colours": INFERNO.tolist(),
        "photos": photos,
    }
    files = resources.files("fcam_tf.predict")
    scripts = [files.joinpath(f"gallery_{name}.js") for name in _SCRIPTS]
    script = "\n".join(each.read_text("utf-8") for each in scripts)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files.joinpath("gallery.html.j2").read_text("utf-8"))
    return template.render(
        title=folder.resolve().name.encode("utf-8", "replace").decode(),
        data=data,
        side=MAP_SIDE,
        count=len(photos),
        classes=len({found["label"] for found in objects}),
        facts=told({name: value for name, value in facts.items() if value is not None}),
        script=script,
    )


def _common_folder(names: Sequence[str]) -> str:
    """Return what all names begin with, up to a slash; empty where that is nothing."""
    start = os.path.commonprefix(names)  # noqa: RUF071 - of addresses, too
    return start[: start.rfind("/") + 1]


def _remove_others(folder: Path, used: Collection[str]) -> None:
    """Remove pictures and maps below OUT/report that the page does not use."""
    place = folder / ASSETS
    for path in place.iterdir() if place.is_dir() else ():
        if re.fullmatch(PICTURES, path.name) and f"{ASSETS}/{path.name}" not in used:
            path.unlink()
    with contextlib.suppress(OSError):  # photos below a folder of that name have files there, too
        place.rmdir()

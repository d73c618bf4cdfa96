"""The contents of an output folder, in the form that annotation formats need."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from fcam_tf.claim import SETTINGS, read_settings
from fcam_tf.predict.inputs import unused_name
from fcam_tf.predict.outputs import read_results

# What XML 1.0 has no way to write, beside lone surrogates.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclasses.dataclass(frozen=True)
class Object:
    """One object with a box.

    Attributes:
        label: number of its class.
        box: x0, y0, x1, y1, inclusive, in the photo's pixels.
        score: score of its class, in [0, 1].
        area: area of its region, as a fraction of the photo's.
        rle: COCO run lengths, {"size", "counts"}, or None if the job made none.
    """

    label: int
    box: tuple[int, int, int, int]
    score: float
    area: float
    rle: dict[str, Any] | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        x0, y0, x1, y1 = self.box
        return x1 - x0 + 1, y1 - y0 + 1


@dataclasses.dataclass(frozen=True)
class Annotated:
    """One photo.

    Attributes:
        file: absolute path; bytes that are not UTF-8 are lone surrogates, as in Python.
        name: the name of its outputs, a relative path in valid UTF-8 without a suffix.
        width: in pixels, as displayed.
        height: in pixels, as displayed.
        source: where it was fetched from, or None.
        objects: those that have a box; there may be none.
    """

    file: str
    name: str
    width: int
    height: int
    source: str | None
    objects: list[Object]


class Results:
    """The results in an output folder; each loop over them reads them again.

    Attributes:
        folder: the output folder.
        root: the innermost folder that contains all photos, absolute.
        classes: the names of the classes that occur, by number, in ascending order.
        model: a human-readable name of the model that made the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names: dict[int, str] = {}
        parents: set[str] = set()
        for record in read_results(folder):
            parents.add(str(Path(record["file"]).absolute().parent))
            for each in record["objects"]:
                if each["box"]:
                    names[each["label"]] = each["label_name"] or f"class {each['label']}"
        self.classes = dict(sorted(names.items()))
        self.root = os.path.commonpath(parents) if parents else str(folder.resolve())
        settings, notes = read_settings(folder / SETTINGS)
        made_with = notes.get("made_with")
        method = (made_with if isinstance(made_with, dict) else settings).get("method", "")
        self.model = f"{notes.get('model', '')} {method}".strip()

    def __iter__(self) -> Iterator[Annotated]:
        for record in read_results(self.folder):
            objects = [
                Object(o["label"], tuple(o["box"]), o["score"], o["area"], o.get("rle"))
                for o in record["objects"]
                if o["box"]
            ]
            given = {key: record[key] for key in ("file", "name", "width", "height")}
            yield Annotated(**given, source=record.get("source"), objects=objects)

    def relative(self, photo: Annotated) -> str:
        """Return the path of a photo's file below `root`."""
        return os.path.relpath(photo.file, self.root)


def below(name: str, files: Collection[str], taken: set[str]) -> str:
    """Return the name of a photo's files in a format, and add it to ``taken``, case-folded.

    It is ``name``, but no folder in it has the suffix of ``files``, because such a folder could be
    in the place of another photo's file.
    """
    *folders, last = name.split("/")
    folders = [f"{each}_" if Path(each).suffix.lower() in files else each for each in folders]
    unique = unused_name("/".join([*folders, last]), taken)
    taken.add(unique.casefold())
    return unique


def utf8(text: str) -> str:
    r"""Return a text whose lone surrogates are escaped: \udce9 for a name that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def xml_text(text: str) -> str:
    r"""Return a text that is valid in XML: other characters are escaped, such as \x07."""
    return _NOT_XML.sub(lambda match: repr(match[0])[1:-1], utf8(text))


def markup(element: ET.Element) -> str:
    """Return an element as indented XML that keeps its texts unchanged."""
    ET.indent(element)
    # A carriage return as it is would be read as the end of a line.
    return ET.tostring(element, "unicode").replace("\r", "&#13;")

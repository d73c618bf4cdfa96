"""PASCAL VOC's data set format, an XML file for each photo.

It is described in the VOC2012 development kit (Everingham and Winn). labelmap.txt, which names
classes other than VOC's twenty, is that of CVAT and Datumaro.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from fcam_tf.atomic import new_folder
from fcam_tf.predict.annotations.found import (
    Annotated,
    Object,
    Results,
    below,
    markup,
    xml_text,
)

FOLDER = "voc"


def write(folder: Path, results: Results) -> Path:
    """Write Annotations/NAME.xml with the objects of each photo; return the folder.

    JPEGImages/NAME.jpg is a link to the photo, whatever its suffix: readers look for no other.
    ImageSets/Main/trainval.txt lists each NAME, and labelmap.txt the classes. A NAME with a line
    break and a class with a colon are left out of them, as their lines cannot hold these.
    Boxes are inclusive, and coordinates start at 1. The format has no scores.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / FOLDER
    names: list[str] = []
    taken: set[str] = set()
    with new_folder(path, replace=True) as place:
        for kind in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (place / kind).mkdir(parents=True)
        for photo in results:
            name = below(photo.name, [".xml", ".jpg"], taken)
            file = place / "Annotations" / f"{name}.xml"
            image = place / "JPEGImages" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.parent.mkdir(parents=True, exist_ok=True)
            tree = _tree(photo, f"{name}.jpg", results.classes)
            file.write_bytes(f"{markup(tree)}\n".encode())
            image.symlink_to(photo.file)
            names.append(name)
        _write_lines(place / "ImageSets" / "Main" / "trainval.txt", names)
        classes = (xml_text(name) for name in results.classes.values())
        labels = [f"{name}:::" for name in dict.fromkeys(classes) if ":" not in name]
        _write_lines(place / "labelmap.txt", ["# label:color_rgb:parts:actions", *labels])
    return path


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    kept = (line for line in lines if line.splitlines() == [line])
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _tree(photo: Annotated, image: str, classes: dict[int, str]) -> ET.Element:
    root = ET.Element("annotation")
    _add(root, folder="JPEGImages", filename=image, path=photo.file)
    _add(ET.SubElement(root, "source"), database=photo.source or "fcam localize")
    _add(ET.SubElement(root, "size"), width=photo.width, height=photo.height, depth=3)
    _add(root, segmented=0)
    for each in photo.objects:
        _add_object(root, each, classes[each.label])
    return root


def _add_object(root: ET.Element, found: Object, name: str) -> None:
    element = ET.SubElement(root, "object")
    _add(element, name=name, pose="Unspecified", truncated=0, difficult=0)
    edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), found.box, strict=True))
    _add(ET.SubElement(element, "bndbox"), **{key: edge + 1 for key, edge in edges.items()})


def _add(parent: ET.Element, **values: str | int) -> None:
    for tag, value in values.items():
        ET.SubElement(parent, tag).text = xml_text(str(value))

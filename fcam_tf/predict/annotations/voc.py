"""PASCAL VOC's annotation format, an XML file for each photo.

It is described in the VOC2012 development kit (Everingham and Winn), section "Annotation".
"""

from __future__ import annotations

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

    Boxes are inclusive, and coordinates start at 1. The format has no scores.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / FOLDER
    with new_folder(path, replace=True) as place:
        (place / "Annotations").mkdir()
        taken: set[str] = set()
        for photo in results:
            file = place / "Annotations" / f"{below(photo.name, ['.xml'], taken)}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            tree = _tree(photo, results.classes)
            file.write_bytes(f"{markup(tree)}\n".encode())
    return path / "Annotations"


def _tree(photo: Annotated, classes: dict[int, str]) -> ET.Element:
    path = Path(photo.file)
    root = ET.Element("annotation")
    _add(root, folder=path.parent.name, filename=path.name, path=photo.file)
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

"""CVAT's XML, "CVAT for images 1.1" (https://docs.cvat.ai/docs/other/xml_format/)."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from fcam_tf.atomic import replacing
from fcam_tf.predict.annotations.found import Annotated, Results, markup, xml_text

FILE = "cvat.xml"


def write(folder: Path, results: Results) -> Path:
    """Write the labels, and an image element with boxes for each photo; return the file.

    Images are named by their path below the innermost folder that contains all photos. Coordinates
    are those of edges: a box ends where the pixel after its last one begins. The format has no
    scores.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / FILE
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        file.write("<version>1.1</version>\n")
        file.write(f"{markup(_meta(results))}\n")
        for number, photo in enumerate(results):
            file.write(f"{markup(_image(number, photo, results))}\n")
        file.write("</annotations>\n")
    return path


def _meta(results: Results) -> ET.Element:
    meta = ET.Element("meta")
    task = ET.SubElement(meta, "task")
    ET.SubElement(task, "name").text = "fcam localize"
    labels = ET.SubElement(task, "labels")
    for name in dict.fromkeys(results.classes.values()):
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = xml_text(name)
        ET.SubElement(label, "attributes")
    return meta


def _image(number: int, photo: Annotated, results: Results) -> ET.Element:
    image = ET.Element("image", id=str(number), name=xml_text(results.relative(photo)))
    image.attrib |= {"width": str(photo.width), "height": str(photo.height)}
    for each in photo.objects:
        (x0, y0, x1, y1), name = each.box, xml_text(results.classes[each.label])
        edges = {"xtl": x0, "ytl": y0, "xbr": x1 + 1, "ybr": y1 + 1}
        box = ET.SubElement(image, "box", label=name, source="auto", occluded="0")
        box.attrib |= {key: f"{edge:.2f}" for key, edge in edges.items()} | {"z_order": "0"}
    return image

"""Label Studio's tasks with predictions (https://labelstud.io/guide/predictions).

Photos are files of a local storage (https://labelstud.io/guide/storage#Local-storage).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from fcam_tf.atomic import new_folder
from fcam_tf.predict.annotations.found import Annotated, Object, Results, markup, utf8, xml_text

FOLDER = "labelstudio"
_LABEL, _IMAGE = "label", "image"  # what the tags of the configuration are called


def write(folder: Path, results: Results) -> Path:
    """Write tasks.json, a task with a prediction for each photo, and config.xml; return the tasks.

    Photo paths are relative to the parent of the innermost folder that contains all photos; set
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to this parent. Boxes are in percent of the photo's
    sides. The score of a prediction is that of its first object.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / FOLDER
    with new_folder(path, replace=True) as place:
        with (place / "tasks.json").open("w", encoding="utf-8") as file:
            file.write("[")
            for number, photo in enumerate(results):
                file.write(",\n" if number else "\n")
                file.write(json.dumps(_task(photo, results), ensure_ascii=False))
            file.write("]\n")
        (place / "config.xml").write_bytes(f"{markup(_config(results))}\n".encode())
    return path / "tasks.json"


def _task(photo: Annotated, results: Results) -> dict[str, Any]:
    # With the folder's own name: a storage must lie below the document root.
    below = PurePath(PurePath(results.root).name, results.relative(photo))
    prediction = {
        "model_version": results.model,
        "score": photo.objects[0].score if photo.objects else 0.0,
        "result": [
            _region(number, each, photo, utf8(results.classes[each.label]))
            for number, each in enumerate(photo.objects, start=1)
        ],
    }
    url = "/data/local-files/?d=" + quote(str(below), errors="surrogateescape")
    return {"data": {_IMAGE: url}, "predictions": [prediction]}


def _region(number: int, found: Object, photo: Annotated, name: str) -> dict[str, Any]:
    (x0, y0, _, _), (width, height) = found.box, found.size
    return {
        "id": f"object{number}",
        "type": "rectanglelabels",
        "from_name": _LABEL,
        "to_name": _IMAGE,
        "original_width": photo.width,
        "original_height": photo.height,
        "image_rotation": 0,
        "score": found.score,
        "value": {
            "x": 100 * x0 / photo.width,
            "y": 100 * y0 / photo.height,
            "width": 100 * width / photo.width,
            "height": 100 * height / photo.height,
            "rotation": 0,
            "rectanglelabels": [name],
        },
    }


def _config(results: Results) -> ET.Element:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}")
    labels = ET.SubElement(view, "RectangleLabels", name=_LABEL, toName=_IMAGE)
    for name in dict.fromkeys(results.classes.values()):
        ET.SubElement(labels, "Label", value=xml_text(name))
    return view

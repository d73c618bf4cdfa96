"""COCO's data set format, one JSON file (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from fcam_tf.atomic import replacing
from fcam_tf.predict.annotations.found import Object, Results

FILE = "coco.json"


def write(folder: Path, results: Results) -> Path:
    """Write images, categories and annotations; return the file.

    A category's id is the class's number plus one, because COCO's ids begin at 1; only classes that
    occur are listed. File names are relative to "root" of "info". Boxes are [x, y, width, height]
    in pixels. If the job made run lengths, they are the segmentation, and "area" is the area of
    that mask. "score" is as in COCO's results format.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / FILE
    with replacing(path) as part, part.open("w", encoding="ascii") as file:
        info = {"description": f"fcam localize: {results.model}", "root": results.root}
        file.write(f'{{"info": {json.dumps(info)},\n"licenses": [],\n')
        names = results.classes.items()
        categories = [{"id": n + 1, "name": name, "supercategory": ""} for n, name in names]
        _write_list(file, "categories", categories)
        file.write(",\n")
        _write_list(file, "images", _images(results))
        file.write(",\n")
        _write_list(file, "annotations", _annotations(results))
        file.write("}\n")
    return path


def _write_list(file: IO[str], key: str, values: Iterable[dict[str, Any]]) -> None:
    """Write a list in lines, one by one: thousands of photos need not be in memory."""
    file.write(f'"{key}": [')
    for number, value in enumerate(values):
        # In ASCII, which can tell file names that are no UTF-8, too.
        file.write(f"{',' if number else ''}\n{json.dumps(value)}")
    file.write("]")


def _images(results: Results) -> Iterator[dict[str, Any]]:
    for number, photo in enumerate(results, start=1):
        image = {"id": number, "file_name": results.relative(photo)}
        image |= {"width": photo.width, "height": photo.height}
        yield image | ({"source": photo.source} if photo.source else {})


def _annotations(results: Results) -> Iterator[dict[str, Any]]:
    number = 0
    for image, photo in enumerate(results, start=1):
        for each in photo.objects:
            number += 1
            yield {
                "id": number,  # from 1 on: COCOeval takes 0 for no match
                "image_id": image,
                "category_id": each.label + 1,
                "bbox": [*each.box[:2], *each.size],
                **_shape(each, photo.width * photo.height),
                "iscrowd": 0,
                "score": each.score,
            }


def _shape(found: Object, pixels: int) -> dict[str, Any]:
    if found.rle is None:
        return {"area": round(found.area * pixels)}
    from pycocotools import mask  # noqa: PLC0415 - an extra, which has made the run lengths

    return {"area": int(mask.area(found.rle)), "segmentation": found.rle}

"""What is found in a photo as rows of a table, one for each class, and the table as Parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from fcam_tf.predict.cutting import coco_rle, mask_of
from fcam_tf.predict.outputs import LocalizeSettings, class_of, where_of

if TYPE_CHECKING:
    from fcam_tf.localization import Localization
    from fcam_tf.photos import Photo

# Lists have an entry for each object, the largest first; none where the map is all zero.
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("label", pa.int32()),
        ("label_name", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("boxes", pa.list_(pa.list_(pa.int32()))),
        ("areas", pa.list_(pa.float64())),
        ("heats", pa.list_(pa.float64())),
        ("masks", pa.list_(pa.string())),
        ("map", pa.binary()),
        ("map_height", pa.int32()),
        ("map_width", pa.int32()),
    ]
)


def rows_of(
    photo: Photo,
    found: Localization,
    settings: LocalizeSettings,
    class_names: Sequence[str] | None,
    *,
    maps: bool = True,
) -> list[dict[str, Any]]:
    """Return a row for each class of a photo, without its name.

    Args:
        photo: the photo.
        found: what it shows and where, an entry for each class.
        settings: say how many objects are wanted.
        class_names: in the order of the labels, or None.
        maps: whether rows hold heat maps: (map_height, map_width) float16, little endian, row by
            row.

    Returns:
        Rows of `SCHEMA`. Boxes, areas and heats are those of results.jsonl, see
        `fcam_tf.predict.localize_files`; masks are the ``counts`` of COCO's run lengths, whose
        ``size`` is [height, width].
    """
    return [
        _row(photo, found[number], settings, class_names, maps=maps) for number in range(len(found))
    ]


def _row(
    photo: Photo,
    found: Localization,
    settings: LocalizeSettings,
    class_names: Sequence[str] | None,
    *,
    maps: bool,
) -> dict[str, Any]:
    size = (photo.width, photo.height)
    height, width = found.heatmaps.shape
    regions = found.regions(settings.objects, settings.min_area)
    places = [where_of(found, region, size) for region in regions]
    masks = [coco_rle(mask_of(region, (width, height), size))["counts"] for region in regions]
    return {
        "width": photo.width,
        "height": photo.height,
        **class_of(found, class_names),
        "threshold": where_of(found, None, size)["threshold"],
        "boxes": [place["box"] for place in places],
        "areas": [place["area"] for place in places],
        "heats": [place["heat"] for place in places],
        "masks": masks,
        "map": found.heatmaps.astype("<f2").tobytes() if maps else None,
        "map_height": height,
        "map_width": width,
    }


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as a Parquet file; the same rows give the same bytes."""
    file = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    parquet.write_table(table, file, compression="zstd", row_group_size=256)
    return file.getvalue()


def map_of(row: Mapping[str, Any]) -> np.ndarray:
    """Return the heat map of a row, (map_height, map_width) float16 in [0, 1]."""
    return np.frombuffer(row["map"], "<f2").reshape(row["map_height"], row["map_width"])

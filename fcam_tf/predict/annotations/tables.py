"""All objects as a table, one row each, in CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fcam_tf.atomic import csv_writer, replacing
from fcam_tf.predict.annotations.found import Results, utf8
from fcam_tf.predict.files import FILE_KEYS
from fcam_tf.predict.outputs import read_results

_OF_PHOTO = {"file": "string", "source": "string", "width": "int32", "height": "int32"}
_OF_OBJECT = {"label": "int32", "label_name": "string", "score": "float64"}
_BOX = ("x0", "y0", "x1", "y1")
_MEASURES = {"area": "float64", "heat": "float64", "threshold": "float64"}
# The columns and their types, by the names that pyarrow has for them.
COLUMNS = {
    **_OF_PHOTO,
    "object": "int32",
    **_OF_OBJECT,
    **dict.fromkeys(_BOX, "int32"),
    **_MEASURES,
    **dict.fromkeys(FILE_KEYS, "string"),
}


def write_csv_table(folder: Path, results: Results) -> Path:
    """Write `rows` as objects.csv, UTF-8; None is empty. Return the file.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / "objects.csv"
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows(results))
    return path


def write_parquet_table(folder: Path, results: Results) -> Path:
    """Write `rows` as objects.parquet; None is null. Return the file.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    path = folder / "objects.parquet"
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    table = pa.Table.from_pylist(list(rows(results)), schema)
    with replacing(path) as part:
        parquet.write_table(table, part)
    return path


def rows(results: Results) -> Iterator[dict[str, Any]]:
    """Yield each object under the keys of `COLUMNS`; if nothing was found, one without a box."""
    for record in read_results(results.folder):
        for number, found in enumerate(record["objects"], start=1):
            box = dict(zip(_BOX, found["box"] or [None] * 4, strict=True))
            row = {**record, "object": number, **found, **box}
            values = ((key, row.get(key)) for key in COLUMNS)
            yield {key: utf8(v) if isinstance(v, str) else v for key, v in values}

"""Writing the results in an output folder as data sets and tables for other programs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection
from pathlib import Path

from fcam_tf import checks
from fcam_tf.predict.annotations import coco, cvat, labelstudio, tables, voc, yolo
from fcam_tf.predict.annotations.found import Results
from fcam_tf.predict.files import ANNOTATIONS
from fcam_tf.predict.outputs import RESULTS

# Each writes one form below a folder, whole or not at all, and returns its file.
DATASETS = {
    "coco": coco.write,
    "yolo": yolo.write,
    "voc": voc.write,
    "labelstudio": labelstudio.write,
    "cvat": cvat.write,
}
TABLES = {"csv": tables.write_csv_table, "parquet": tables.write_parquet_table}


def write_annotations(
    folder: str | os.PathLike[str], forms: Collection[str] = (), table: Collection[str] = ()
) -> list[Path]:
    """Write the results of all photos in an output folder in other formats, from scratch.

    Data sets are written to ``folder``/annotations, tables to ``folder``/objects.csv and .parquet.

    Args:
        folder: output folder of `localize_files`; without results nothing is written.
        forms: formats from `DATASETS`. "coco" has masks if the results have run lengths.
        table: formats from `TABLES`.

    Returns:
        The file, or folder of files, of each format.

    Raises:
        ValueError, ImportError: see `check_forms`.
        OSError: a file cannot be written.
    """
    check_forms(forms, table)
    folder = Path(folder)
    if not (forms or table) or not (folder / RESULTS).exists():
        return []
    results = Results(folder)
    place = folder / ANNOTATIONS
    if forms:
        place.mkdir(exist_ok=True)
    written = [DATASETS[each](place, results) for each in dict.fromkeys(forms)]
    return written + [TABLES[each](folder, results) for each in dict.fromkeys(table)]


def check_forms(forms: Collection[str], table: Collection[str]) -> None:
    """Refuse formats that cannot be written, before anything else is done.

    Raises:
        ValueError: there is no such format.
        ImportError: "parquet" without pyarrow.
    """
    for each in forms:
        checks.choice("annotations", each, list(DATASETS))
    for each in table:
        checks.choice("table", each, list(TABLES))
    if "parquet" in table and not importlib.util.find_spec("pyarrow"):
        raise ImportError("Parquet is written by pyarrow: pip install 'fcam_tf[table]'")


def masks_for(forms: Collection[str]) -> list[str]:
    """Return the ``mask`` of `fcam_tf.predict.Files` that a job needs for its annotations."""
    return ["rle"] if "coco" in forms else []

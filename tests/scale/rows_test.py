import io

import numpy as np
import pyarrow.parquet
import pytest
from pycocotools import mask as coco

from fcam_tf.photos import Photo
from fcam_tf.predict import Localization, LocalizeSettings
from fcam_tf.scale.rows import SCHEMA, as_parquet, map_of, rows_of

PHOTO = Photo(np.zeros((4, 4, 3), np.uint8), None, width=8, height=12)


def found(*heatmaps):
    maps = np.array(heatmaps, np.float32)
    probabilities = np.tile(np.float32([0.25, 0.75]), (len(maps), 1))
    return Localization.from_heatmaps(maps, probabilities, np.arange(len(maps)), 0.5)


def two_objects():
    """Return a map of 4x4 with objects of two pixels and one."""
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[0, :2], heatmap[3, 3] = 1, 0.75
    return heatmap


def settings(**options):
    return LocalizeSettings("x", "0", "cam", 0.5, objects=None, min_area=0, **options)


def test_a_row_has_all_objects_of_a_class():
    (row,) = rows_of(PHOTO, found(two_objects()), settings(), ["sea", "fire"])
    assert row["boxes"] == [[0, 0, 3, 2], [6, 9, 7, 11]]
    assert row["areas"] == [0.125, 0.0625]
    assert row["heats"] == [1, 0.75]
    assert (row["label"], row["label_name"], row["score"]) == (0, "sea", 0.25)
    assert (row["width"], row["height"]) == (8, 12)
    assert row["threshold"] == pytest.approx(0.5, abs=0.01)
    mask = coco.decode({"size": [12, 8], "counts": row["masks"][1].encode()})
    assert mask[9:, 6:].any()
    assert not mask[:9].any()


def test_a_row_for_each_class():
    rows = rows_of(PHOTO, found(two_objects(), np.zeros((4, 4))), settings(), None, maps=False)
    assert [row["label"] for row in rows] == [0, 1]
    assert [row["label_name"] for row in rows] == [None, None]
    assert rows[1]["boxes"] == rows[1]["masks"] == rows[1]["areas"] == []
    assert [row["map"] for row in rows] == [None, None]


def test_maps_are_float16():
    rows = rows_of(PHOTO, found(two_objects()), settings(), None)
    table = pyarrow.parquet.read_table(io.BytesIO(as_parquet([{"file": "a.jpg", **rows[0]}])))
    assert table.schema.equals(SCHEMA)
    (row,) = table.to_pylist()
    assert row["file"] == "a.jpg"
    assert map_of(row).dtype == np.float16
    np.testing.assert_array_equal(map_of(row), two_objects())


def test_files_without_rows_and_of_equal_rows():
    assert pyarrow.parquet.read_table(io.BytesIO(as_parquet([]))).num_rows == 0
    rows = [{"file": "a", **rows_of(PHOTO, found(two_objects()), settings(), None)[0]}]
    assert as_parquet(rows) == as_parquet(rows)

import csv

import pyarrow.parquet

from fcam_tf.predict.annotations import tables

EXPECTED = [
    ("/photos/my cat.jpg", None, 1, 7, 0.75, 10, 59),
    ("/photos/my cat.jpg", None, 2, 3, 0.5, 99, 79),
    ("/photos/sub/猫.png", None, 1, 5, 0.25, None, None),
    (
        *("/photos/out/inputs/z.zip/é\\udce9.v2.jpg", "z.zip/é\\udce9.v2.jpg"),
        *(1, 7, 1.0, 10, 59),
    ),
]
SOME = ("file", "source", "object", "label", "score", "x0", "y1")


def test_csv(tmp_path, results):
    path = tables.write_csv_table(tmp_path, results)
    assert path == tmp_path / "objects.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == tuple(tables.COLUMNS)
    found = [tuple(row[name] for name in SOME) for row in rows]
    assert found == [tuple("" if v is None else str(v) for v in row) for row in EXPECTED]
    assert [row["label_name"] for row in rows[:2]] == ["tabby, tabby cat", "dog & <wolf>"]


def test_parquet(tmp_path, results):
    table = pyarrow.parquet.read_table(tables.write_parquet_table(tmp_path, results))
    assert table.column_names == list(tables.COLUMNS)
    assert [tuple(row[name] for name in SOME) for row in table.to_pylist()] == EXPECTED
    first = table.to_pylist()[0]
    assert (first["area"], first["mask"], first["heatmap"]) == (0.1, "m.png", None)
    assert str(table.schema.field("x0").type) == "int32"


def test_of_no_photo(tmp_path, empty):
    assert tables.write_csv_table(tmp_path, empty).read_text() == ",".join(tables.COLUMNS) + "\n"
    table = pyarrow.parquet.read_table(tables.write_parquet_table(tmp_path, empty))
    assert (table.num_rows, table.column_names) == (0, list(tables.COLUMNS))


def test_lines_within_names(tmp_path, make):
    write, record, found = make
    files = ["/a\rb.jpg", "/c\nd.jpg", '/e\r\n"f".jpg']
    photos = [record(file, "x", found(0, "cat", 1.0, [0, 0, 1, 1])) for file in files]
    path = tables.write_csv_table(tmp_path, write(tmp_path / "out", *photos))
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == files
    assert path.read_bytes().count(b"\r") == 2  # lines end in a line feed alone

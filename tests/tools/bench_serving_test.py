import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from tools import bench_serving


def test_what_came_is_counted():
    labels = iter([3, 3, 4])
    found = bench_serving.load(lambda: (200, {"label": next(labels, 3)}), 1, 0.05)
    assert found.wrong == 1
    found = bench_serving.load(lambda: (200, {"label": 3}), 2, 0.05)
    assert set(found.statuses) == {200}
    assert len(found.times) == found.statuses[200]
    assert found.wrong == 0


def test_a_row():
    found = bench_serving.Load(Counter({200: 4, 503: 2, 0: 1}), [1.0, 2.0, 3.0, 5.0], 8.0, 1)
    assert found.row(16) == ["16", "0.5", "2.500", "4.700", "1 x 0, 4 x 200, 2 x 503", "1", "1"]


def test_no_server_is_no_answer():
    assert bench_serving.send("http://127.0.0.1:9/localize", b"") == (0, {})

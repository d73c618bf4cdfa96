from matplotlib.figure import Figure
from PIL import Image

from fcam_tf.paper.figure_files import write_figure


def drawn():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_both_files(tmp_path):
    png, pdf = write_figure(drawn(), tmp_path, "fig0")
    assert (png, pdf) == (tmp_path / "fig0.png", tmp_path / "fig0.pdf")
    with Image.open(png) as picture:
        assert picture.size == (300, 150)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert sorted(tmp_path.iterdir()) == [pdf, png]


def test_the_same_figure_is_the_same_files(tmp_path):
    first = [path.read_bytes() for path in write_figure(drawn(), tmp_path, "a")]
    assert [path.read_bytes() for path in write_figure(drawn(), tmp_path, "b")] == first

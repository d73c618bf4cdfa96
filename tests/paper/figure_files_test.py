import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fcam_tf.paper.figure_files import few_colours, write_figure


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


def test_photos_take_little_room(tmp_path):
    def figure(picture):
        shown = Figure(figsize=(2, 2))
        shown.add_axes((0, 0, 1, 1)).imshow(picture)
        return shown

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    large = write_figure(figure(noise), tmp_path, "large")
    small = write_figure(figure(few_colours(noise)), tmp_path, "small", photos=True)
    with Image.open(small[0]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (240, 240))
    assert small[1].stat().st_size < large[1].stat().st_size / 2


def test_the_same_figure_is_the_same_files(tmp_path):
    first = [path.read_bytes() for path in write_figure(drawn(), tmp_path, "a")]
    assert [path.read_bytes() for path in write_figure(drawn(), tmp_path, "b")] == first

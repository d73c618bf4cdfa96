"""A figure as the files that a paper and a page take: PDF and PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from fcam_tf.atomic import write_atomically

_DPI = 150
_PNG: dict[str, Any] = {"dpi": _DPI, "pil_kwargs": {"optimize": True}}
# Of photos, which would take megabytes as a PNG at `_DPI`.
_JPEG: dict[str, Any] = {
    "dpi": 120,
    "pil_kwargs": {"quality": 82, "subsampling": 0, "optimize": True, "progressive": True},
}
COLOURS = 256


def write_figure(
    figure: Figure, folder: str | Path, name: str, *, photos: bool = False
) -> list[Path]:
    """Write ``name.png`` and ``name.pdf`` into a folder; the same figure gives the same files.

    Args:
        figure: what to write.
        folder: where to; it exists.
        name: of the files, without an ending.
        photos: the figure is full of them: it is ``name.jpg`` instead of the PNG, and the PDF has
            the pixels of its pictures as they are.

    Returns:
        The two files.

    Raises:
        OSError: the folder cannot be written to.
    """
    options: dict[str, Any] = {"jpg": _JPEG} if photos else {"png": _PNG}
    options["pdf"] = {"dpi": _DPI, "metadata": {"CreationDate": None}}
    paths = []
    for ending, more in options.items():
        for picture in (each for axes in figure.axes for each in axes.images):
            picture.set_interpolation("none" if photos and ending == "pdf" else None)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, **more)
        paths.append(Path(folder, f"{name}.{ending}"))
        write_atomically(paths[-1], buffer.getvalue())
    return paths


def few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in the 256 colours that suit it best, which a PDF keeps in a byte each."""
    return picture.quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")

"""A figure as the files that a paper and a page take: PDF and PNG."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from fcam_tf.atomic import write_atomically


def write_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write ``name.png`` and ``name.pdf`` into a folder; the same figure gives the same files.

    Args:
        figure: what to write.
        folder: where to; it exists.
        name: of the files, without an ending.

    Returns:
        The two files.

    Raises:
        OSError: the folder cannot be written to.
    """
    undated = {"png": {}, "pdf": {"CreationDate": None}}
    paths = []
    for ending, metadata in undated.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=150, metadata=metadata)
        paths.append(Path(folder, f"{name}.{ending}"))
        write_atomically(paths[-1], buffer.getvalue())
    return paths

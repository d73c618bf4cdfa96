"""Find the cat: what `make demo` runs on a photo that scikit-image ships.

The coarse map of a classifier, and the full-resolution map of the zoo's F-CAM behind it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from skimage import data, io

_OUT = flags.DEFINE_string("out", "demo-output", "folder for the pictures")
_MODEL = flags.DEFINE_string("model", "efficientnetlite_b0_layercam", "what finds the cat")
_GAP = 12  # pixels between the pictures


def main(argv: list[str]) -> None:
    """Write the photo, localize it both ways, and say where everything is."""
    from fcam_tf import cli  # noqa: PLC0415 - TensorFlow takes seconds; flags are read first

    del argv
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    photo = out / "cat.png"
    io.imsave(photo, data.chelsea(), check_contrast=False)
    pictures = []
    for folder, method in (("coarse", "cam"), ("full", "fcam")):
        command = ["localize", str(photo), "--model", _MODEL.value, "--method", method]
        status = cli.run(["fcam", *command, "--out", str(out / folder), "--overwrite"])
        if status:
            sys.exit(status)
        pictures.append(io.imread(out / folder / "cat_overlay.png")[..., :3])
    gap = np.full((len(pictures[0]), _GAP, 3), 255, np.uint8)
    io.imsave(out / "cat_both.png", np.hstack([pictures[0], gap, pictures[1]]))
    print(f"both side by side: {out / 'cat_both.png'}")


if __name__ == "__main__":
    app.run(main)

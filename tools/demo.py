"""Find the cat: what `make demo` runs on a photo that scikit-image ships."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags
from skimage import data, io

_OUT = flags.DEFINE_string("out", "demo-output", "folder for the pictures")


def main(argv: list[str]) -> None:
    """Write the photo, localize it, and say where everything is."""
    from fcam_tf import cli  # noqa: PLC0415 - TensorFlow takes seconds; flags are read first

    del argv
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    photo = out / "cat.png"
    io.imsave(photo, data.chelsea(), check_contrast=False)
    sys.exit(cli.run(["fcam", "localize", str(photo), "--out", str(out), "--overwrite"]))


if __name__ == "__main__":
    app.run(main)

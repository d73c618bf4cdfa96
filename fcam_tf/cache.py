"""Where files are kept that can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$FCAM_CACHE``, else ``$XDG_CACHE_HOME/fcam_tf``, else ``~/.cache/fcam_tf``.

    Raises:
        RuntimeError: neither variable is set, and the user has no home.
    """
    named = os.environ.get("FCAM_CACHE")
    if named:
        return Path(named)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is to be ignored, as the XDG base directory specification says.
    return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "fcam_tf"

"""Where exported models are, found without TensorFlow."""

from __future__ import annotations

from pathlib import Path


def saved_model_folder(name: str) -> Path | None:
    """Return the SavedModel that a folder is, or the last version in it; None where it has none."""
    folder = Path(name)
    try:
        versions = [p for p in folder.glob("*") if p.name.isascii() and p.name.isdigit()]
        for path in (folder, *sorted(versions, key=lambda p: -int(p.name))):
            if (path / "saved_model.pb").is_file():
                return path
    except OSError:  # a name that is too long for one
        return None
    return None

"""Tells the reference pages of names that a package imports when they are first used."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import griffe


def lazy_names(init: Path) -> dict[str, str]:
    """Return which module defines each name that ``__init__.py`` hands to `lazy_loader.attach`."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(init.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            for module, names in ast.literal_eval(node.value).items():
                found |= dict.fromkeys(names, module)
    return found


class LazyNames(griffe.Extension):
    """Adds them to their packages, as if they were imported at once."""

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        """Add the lazy names of a package."""
        if mod.is_init_module:
            for name, module in lazy_names(Path(mod.filepath)).items():
                mod.set_member(name, griffe.Alias(name, f"{mod.path}.{module}.{name}"))

"""Names of a package that are imported when they are first used: most of them need TensorFlow."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazily(package: str, names: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: its name.
        names: of what each of its modules has, by module.
    """
    modules = {name: module for module, those in names.items() for name in those}

    def getter(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return getter

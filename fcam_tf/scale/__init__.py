"""Localising, and storing maps, on several machines by Apache Beam."""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__, ["blocks", "inputs", "pipeline", "shards", "store", "storing"]
)

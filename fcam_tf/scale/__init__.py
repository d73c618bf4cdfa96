"""Localising on several machines by Apache Beam: shards of photos to shards of results."""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach(__name__, ["inputs", "pipeline", "shards", "store"])

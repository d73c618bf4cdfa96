"""Localising on several machines by Apache Beam: shards of photos to shards of results."""

"""Tools for functional graphs: replaying and flattening them, and layers that Keras lacks."""

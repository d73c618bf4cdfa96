"""Tools for functional graphs: replaying and flattening them, and layers that Keras lacks."""

from fcam_tf.graphs.graph import flatten as flatten

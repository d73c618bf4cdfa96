"""A server of one model: TensorFlow Serving's REST paths, and photos for people and programs."""

"""Full-resolution class activation maps (F-CAM) for Keras 3 and TensorFlow."""

import lazy_loader

__version__ = "0.1.0"

# Loaded on first use, because most of them import TensorFlow.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    [
        *("baselines", "cams", "compat", "data", "evaluation", "export", "losses", "metrics"),
        *("models", "ops", "paper", "predict", "report", "scale", "training", "visualize"),
        "zoo",
    ],
)

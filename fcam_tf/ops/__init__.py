"""Operations that TensorFlow does not have: the bilateral filter on the permutohedral lattice."""

import lazy_loader

from fcam_tf.ops.loader import backend as backend

# Loaded on first use: the exact filter and the loader do without TensorFlow.
__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bilateral": ["bilateral_filter", "crf_loss_and_gradient"],
        "dense": ["dense_bilateral_filter"],
    },
)

"""Images and maps for the tests of the lattice."""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data, transform


def photos(size, count=3):
    """Return (count, size, size, 3) uint8 of natural photos."""
    pictures = []
    for name in ("astronaut", "chelsea", "coffee", "rocket")[:count]:
        image = getattr(data, name)()
        side = min(image.shape[:2])
        small = transform.resize(image[:side, :side], (size, size), anti_aliasing=True)
        pictures.append(np.rint(255 * small).astype(np.uint8))
    return np.stack(pictures)


def soft_maps(rng, *shape):
    """Return smooth probabilities of the given (B, H, W, K)."""
    logits = gaussian_filter(rng.normal(size=shape), (0, shape[1] / 10, shape[2] / 10, 0))
    logits *= 1.5 / max(logits.std(), 1e-9)
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return (exp / exp.sum(-1, keepdims=True)).astype(np.float32)

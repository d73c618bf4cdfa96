"""Mean field in float64 NumPy, as an oracle."""

import numpy as np


def softmax(x):
    exp = np.exp(x - x.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def exact(image, sigma_xy, sigma_rgb=None):
    """Return the filter by the dense Gaussian, in float64."""
    height, width = image.shape[:2]
    features = [axis / sigma_xy for axis in np.mgrid[:height, :width]]
    if sigma_rgb is not None:
        features += [channel / sigma_rgb for channel in np.moveaxis(image.astype(float), -1, 0)]
    flat = np.stack(features, -1).reshape(height * width, -1)
    affinity = np.exp(-0.5 * np.square(flat[:, None] - flat[None]).sum(-1))
    return lambda values: (affinity @ values.reshape(height * width, -1)).reshape(values.shape)


def mean_field(unaries, kernels, compatibility, iterations):
    """Return the marginals of one image: kernels are (weight, filter), not normalised."""
    classes = unaries.shape[-1]
    mu = 1 - np.eye(classes) if compatibility is None else compatibility
    q = softmax(-unaries.astype(float))
    for _ in range(iterations):
        energy = unaries.astype(float)
        for weight, filtered in kernels:
            scale = 1 / np.sqrt(filtered(np.ones((*unaries.shape[:2], 1))))
            energy = energy + weight * (scale * filtered(scale * q)) @ mu.T
        q = softmax(-energy)
    return q

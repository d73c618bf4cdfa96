"""The lattice of Adams et al. (2010) in float64 NumPy, by rank and remainder, as an oracle.

Written for clarity and with the algorithm of the paper, which shares no step with the compiled one:
points are rounded to the nearest remainder-0 point and ranked, keys are rows of coordinates.
"""

import numpy as np


class Lattice:
    """The lattice of one image.

    Args:
        image: (H, W, 1 or 3).
        sigma_rgb: standard deviation over the channels.
        sigma_xy: standard deviation over positions, in pixels.
    """

    def __init__(self, image, sigma_rgb, sigma_xy):
        height, width, _ = image.shape
        y, x = np.mgrid[:height, :width].astype(float)
        features = np.concatenate(
            [np.stack([x, y], -1) / sigma_xy, image.astype(float) / sigma_rgb], -1
        ).reshape(height * width, -1)
        n, d = features.shape
        self.d = d
        scale = np.sqrt(2 / 3) * (d + 1) / np.sqrt([(i + 1) * (i + 2) for i in range(d)])
        scaled = features * scale
        elevated = np.zeros((n, d + 1))
        total = np.zeros(n)
        for i in range(d, 0, -1):
            elevated[:, i] = total - i * scaled[:, i - 1]
            total += scaled[:, i - 1]
        elevated[:, 0] = total

        nearest = np.rint(elevated / (d + 1)).astype(int) * (d + 1)
        excess = nearest.sum(1) // (d + 1)
        residual = elevated - nearest
        rank = np.zeros((n, d + 1), int)
        for i in range(d + 1):
            for j in range(i + 1, d + 1):
                later = residual[:, i] < residual[:, j]
                rank[:, i] += later
                rank[:, j] += ~later
        rank += excess[:, None]
        low, high = rank < 0, rank > d
        rank += (d + 1) * (low.astype(int) - high)
        nearest += (d + 1) * (low.astype(int) - high)

        step = (elevated - nearest) / (d + 1)
        weights = np.zeros((n, d + 2))
        rows = np.arange(n)
        for i in range(d + 1):
            weights[rows, d - rank[:, i]] += step[:, i]
            weights[rows, d + 1 - rank[:, i]] -= step[:, i]
        weights[:, 0] += 1 + weights[:, d + 1]
        self.weights = weights[:, : d + 1]

        keys = np.stack(
            [nearest[:, :d] + r - (d + 1) * (rank[:, :d] > d - r) for r in range(d + 1)], 1
        )
        self.points, ids = np.unique(keys.reshape(-1, d), axis=0, return_inverse=True)
        self.ids = ids.reshape(n, d + 1)
        self.shape = (height, width)

    @property
    def vertices(self):
        return len(self.points)

    def splat(self, values):
        values = np.asarray(values, float).reshape(-1, values.shape[-1])
        out = np.zeros((self.vertices, values.shape[-1]))
        for r in range(self.d + 1):
            np.add.at(out, self.ids[:, r], self.weights[:, r, None] * values)
        return out

    def blur(self, values, reverse=False):
        index = {tuple(point): i for i, point in enumerate(self.points)}
        for axis in range(self.d, -1, -1) if reverse else range(self.d + 1):
            step = np.ones(self.d, int)
            if axis < self.d:
                step[axis] = -self.d
            padded = np.concatenate([values, np.zeros((1, values.shape[1]))])
            one = [index.get(tuple(point + step), -1) for point in self.points]
            other = [index.get(tuple(point - step), -1) for point in self.points]
            values = values + 0.5 * (padded[one] + padded[other])
        return values

    def slice(self, values):
        out = np.einsum("nr,nrc->nc", self.weights, values[self.ids])
        return (out / (1 + 2.0**-self.d)).reshape(*self.shape, -1)

    def filter(self, values, reverse=False):
        return self.slice(self.blur(self.splat(values), reverse))


def crf_loss(image, probabilities, sigma_rgb, sigma_xy, symmetric=True):
    """Return the loss and its gradient by the probabilities."""
    lattice = Lattice(image, sigma_rgb, sigma_xy)
    values = np.concatenate([probabilities, np.ones_like(probabilities[..., :1])], -1)
    filtered = lattice.filter(values)
    if symmetric:
        filtered = (filtered + lattice.filter(values, reverse=True)) / 2
        ones = filtered[..., -1:]
    else:
        ones = np.zeros_like(filtered[..., -1:])
    filtered = filtered[..., :-1]
    return (probabilities * (ones - filtered)).sum(), ones - 2 * filtered

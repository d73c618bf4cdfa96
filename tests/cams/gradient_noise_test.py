import keras
import numpy as np
import pytest

from fcam_tf import cams

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def mean(v):
    return v.mean((1, 2), keepdims=True)


@pytest.mark.parametrize("closed", [True, False])
class TestNoise:
    def make(self, model, closed, samples=2, **options):
        cam = cams.get("smoothgradcampp", model, samples=samples, **options)
        if not closed:
            cam.split.is_linear = False
        return cam

    def test_repeats_under_a_seed(self, model, x, closed):
        runs = [self.make(model, closed, seed=3) for _ in range(2)]
        first, second = ([run(x, 1).numpy() for _ in range(2)] for run in runs)
        np.testing.assert_array_equal(first, second)
        assert np.any(first[0] != first[1])  # drawn anew
        other = self.make(model, closed, seed=4)(x, 1).numpy()
        assert np.any(other != first[0])

    def test_grows_with_its_level(self, model, x, closed):
        clean = self.make(model, closed, noise_level=0.0)(x, 1).numpy()
        distances = []
        for level in (0.01, 0.1, 1.0):
            noisy = self.make(model, closed, noise_level=level, seed=0)(x, 1).numpy()
            distances.append(np.abs(noisy - clean).mean())
        assert 0 < distances[0] < distances[1] < distances[2]

    def test_one_sample_equals_numpy(self, tiny, model, x, closed):
        """sum(A) of the clean image; A and the gradients of the noisy one."""
        label, level = 1, 0.2
        seeds = keras.random.SeedGenerator(5)
        span = np.ptp(x, axis=(1, 2, 3), keepdims=True)
        noisy = x + level * span * keras.random.normal(x.shape, seed=seeds).numpy()
        kernel, _ = tiny.head(model)
        g = kernel[:, label] / 48
        total = tiny.activations(model, x).sum((1, 2), keepdims=True)
        weights = np.maximum(g, 0) / (2 + g * total)
        raw = np.maximum((weights * tiny.activations(model, noisy)).sum(-1), 0)
        cam = self.make(model, closed, samples=1, noise_level=level, seed=5)
        np.testing.assert_allclose(cam(x, label), tiny.min_max(raw), **CLOSE)


def test_smooth_averages_over_samples(tiny, x):
    """With gradients that depend on the image, the samples matter."""
    model = tiny.build(hidden=True)
    label, level, samples = 1, 0.2, 3
    seeds = keras.random.SeedGenerator(5)
    span = np.ptp(x, axis=(1, 2, 3), keepdims=True)
    runs = [
        tiny.gradients(
            model, x + level * span * keras.random.normal(x.shape, seed=seeds).numpy(), label
        )
        for _ in range(samples)
    ]
    total = tiny.gradients(model, x, label)[0].sum((1, 2), keepdims=True)
    squares = np.mean([g**2 for _, g in runs], axis=0)
    cubes = np.mean([g**3 for _, g in runs], axis=0)
    a, g = runs[-1]
    weights = mean(squares / (2 * squares + cubes * total) * np.maximum(g, 0))
    raw = np.maximum((weights * a).sum(-1), 0)
    cam = cams.get("smoothgradcampp", model, "maps", samples=samples, noise_level=level, seed=5)
    np.testing.assert_allclose(cam(x, label), tiny.min_max(raw), **CLOSE)


@pytest.mark.parametrize(("option", "value"), [("samples", 0), ("noise_level", -0.1)])
def test_wrong_noise(model, option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be .*Received: {value}"):
        cams.get("smoothgradcampp", model, **{option: value})

"""The marginals beside those of pydensecrf, where it is installed."""

import numpy as np
import pytest

from fcam_tf.compat import densecrf as ours
from tests.ops.examples import photos, soft_maps

theirs = pytest.importorskip("pydensecrf.densecrf")


def marginals(library, classes, bilateral, spatial):
    """Return marginals (K, H * W) of a photo after five iterations."""
    image = photos(64, 1)[0]
    unaries = -np.log(soft_maps(np.random.default_rng(0), 1, 64, 64, classes))
    crf = library.DenseCRF2D(64, 64, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unaries[0].reshape(-1, classes).T, np.float32))
    if spatial is not None:
        crf.addPairwiseGaussian(sxy=3, compat=spatial)
    if bilateral is not None:
        crf.addPairwiseBilateral(
            sxy=80, srgb=13, rgbim=np.ascontiguousarray(image, np.uint8), compat=bilateral
        )
    return np.array(crf.inference(5))


@pytest.mark.parametrize("compat", [10, np.array([[0.0, 2, 1], [2, 0, 3], [1, 3, 0]], np.float32)])
def test_agrees_with_the_bilateral_kernel(compat):
    got, expected = (marginals(library, 3, compat, None) for library in (ours, theirs))
    assert np.abs(got - expected).mean() < 1e-6
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 21])
def test_agrees_but_for_the_lattice_of_the_spatial_kernel(classes):
    got, expected = (marginals(library, classes, 10, 3) for library in (ours, theirs))
    assert np.abs(got - expected).mean() < 3e-3

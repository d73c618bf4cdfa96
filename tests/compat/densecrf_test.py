import numpy as np
import pytest

from fcam_tf.compat import densecrf
from fcam_tf.ops import dense_crf
from tests.ops.examples import photos, soft_maps


def flat(batch):
    return batch[0].reshape(-1, batch.shape[-1]).T


@pytest.fixture
def case():
    image = photos(20, 1)[:, :14]
    return image, -np.log(soft_maps(np.random.default_rng(0), 1, 14, 20, 3))


def crf(case, gaussian=2, bilateral=4):
    image, unaries = case
    made = densecrf.DenseCRF2D(20, 14, 3)
    made.setUnaryEnergy(flat(unaries))
    made.addPairwiseGaussian(sxy=(3, 3), compat=gaussian)
    made.addPairwiseBilateral(
        sxy=30,
        srgb=(13, 13, 13),
        rgbim=image[0],
        compat=bilateral,
        kernel=densecrf.DIAG_KERNEL,
        normalization=densecrf.NORMALIZE_SYMMETRIC,
    )
    return made


def test_is_the_crf_of_these_terms(case):
    image, unaries = case
    expected = dense_crf(images=image, unaries=unaries, bilateral=(4, 30, 13), spatial=(2, 3))
    got = np.array(crf(case).inference(5))
    assert got.shape == (3, 280)
    np.testing.assert_allclose(got, flat(expected), atol=1e-6)


def test_without_kernels_it_is_the_softmax(case):
    made = densecrf.DenseCRF2D(20, 14, 3)
    np.testing.assert_allclose(made.inference(2), 1 / 3, atol=1e-6)
    made.setUnaryEnergy(flat(case[1]))
    np.testing.assert_allclose(made.inference(2), np.exp(-flat(case[1])), atol=1e-6)


@pytest.mark.parametrize("matrix", [np.full(3, -1.0), -np.eye(3), 1 - np.eye(3)])
def test_matrices_of_energies(case, matrix):
    potts = crf(case, 1, 1).inference(4)
    np.testing.assert_allclose(crf(case, matrix, matrix).inference(4), potts, atol=1e-5)


def test_steps_are_those_of_inference(case):
    made = crf(case)
    marginals, one, other = made.startInference()
    divergences = [made.klDivergence(marginals)]
    for _ in range(3):
        made.stepInference(marginals, one, other)
        divergences.append(made.klDivergence(marginals))
    np.testing.assert_allclose(marginals, made.inference(3), atol=1e-5)
    assert sorted(divergences, reverse=True) == divergences


def test_what_is_not_there_is_told(case):
    made = crf(case)
    with pytest.raises(ValueError, match="one spatial kernel"):
        made.addPairwiseGaussian(3, 3)
    made = densecrf.DenseCRF2D(20, 14, 3)
    with pytest.raises(ValueError, match=r"the same on all axes.*\(3, 4\)"):
        made.addPairwiseGaussian((3, 4), 3)
    with pytest.raises(ValueError, match="of the default kind"):
        made.addPairwiseGaussian(3, 3, densecrf.DIAG_KERNEL, "none")
    made.addPairwiseGaussian(3, np.eye(3))
    with pytest.raises(ValueError, match="one matrix for both"):
        made.addPairwiseBilateral(3, 3, case[0][0], 2)


def test_agrees_with_pydensecrf(case):
    peer = pytest.importorskip("pydensecrf.densecrf")
    image, unaries = case
    matrix = np.random.default_rng(1).uniform(-1, 1, (3, 3)).astype(np.float32)
    for compat in (4, np.array([-1.0, -2, -3], np.float32), matrix):
        results = []
        for library in (peer, densecrf):
            made = library.DenseCRF2D(20, 14, 3)
            made.setUnaryEnergy(np.ascontiguousarray(flat(unaries)))
            made.addPairwiseBilateral(30, 13, np.ascontiguousarray(image[0]), compat)
            results.append((np.array(made.inference(4)), made.klDivergence(made.inference(0))))
        np.testing.assert_allclose(results[1][0], results[0][0], atol=1e-5)
        np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-5)


@pytest.mark.parametrize("shape", [(280, 3), (3, 14, 20), (3, 279)])
def test_energies_and_marginals_of_other_shapes_are_refused(case, shape):
    with pytest.raises(ValueError, match=r"must be \(nlabels, h \* w\), here \(3, 280\)"):
        densecrf.DenseCRF2D(20, 14, 3).setUnaryEnergy(np.zeros(shape))
    with pytest.raises(ValueError, match="energies and marginals"):
        crf(case).stepInference(np.zeros(shape, np.float32))


def test_an_image_of_another_size_is_refused_where_it_comes(case):
    made = densecrf.DenseCRF2D(14, 20, 3)  # height first
    with pytest.raises(ValueError, match=r"`rgbim` must be \(20, 14, 3\), height first"):
        made.addPairwiseBilateral(sxy=30, srgb=13, rgbim=case[0][0], compat=4)


@pytest.mark.parametrize(
    ("sides", "error", "message"),
    [
        ((-9, 8, 2), ValueError, "`w` must be 1 or more. Received: -9"),
        ((9, 8.0, 2), TypeError, "`h` must be a whole number. Received: 8.0"),
        ((9, 8, 0), ValueError, "`nlabels` must be 1 or more. Received: 0"),
    ],
)
def test_sides_that_are_none(sides, error, message):
    with pytest.raises(error, match=message):
        densecrf.DenseCRF2D(*sides)

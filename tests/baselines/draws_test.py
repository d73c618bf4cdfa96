import numpy as np

from fcam_tf.baselines.draws import beta, permutation, uniform


def test_salts_and_seeds_tell_draws_apart():
    assert float(uniform((), (0, 1), 0)) == float(uniform((), (0, 1), 0))
    values = {
        float(uniform((), seed, salt)) for seed in ((0, 1), (0, 2), (1, 1)) for salt in (0, 1)
    }
    assert len(values) == 6


def test_beta_has_its_mean_and_variance():
    for concentration in (0.5, 1.0, 4.0):
        drawn = np.array([float(beta(concentration, (0, i))) for i in range(400)])
        # four standard errors; the variance of Beta(a, a) is 1 / (4 (2 a + 1))
        variance = 1 / (4 * (2 * concentration + 1))
        assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(variance / 400)
        assert abs(drawn.var() / variance - 1) < 0.3
        assert ((drawn >= 0) & (drawn <= 1)).all()


def test_permutation_holds_each_number_once():
    np.testing.assert_array_equal(np.sort(permutation(9, (3, 4))), np.arange(9))

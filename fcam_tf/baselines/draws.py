"""Random numbers of augmentations: from a seed, so that a training run repeats, or anew."""

from __future__ import annotations

from typing import Any


def uniform(shape: Any, seed: Any, salt: int = 0) -> Any:
    """Draw float32 from [0, 1).

    Args:
        shape: of what is drawn.
        seed: two integers; None draws anew each time.
        salt: tells several draws from one seed apart.
    """
    import tensorflow as tf  # noqa: PLC0415 - other backends run without it

    return tf.random.stateless_uniform(shape, _key(seed, salt))


def beta(concentration: float, seed: Any, salt: int = 0) -> Any:
    """Draw one float32 from Beta(concentration, concentration); see `uniform`."""
    import tensorflow as tf  # noqa: PLC0415 - as above

    key = _key(seed, salt)
    a, b = tf.unstack(tf.random.stateless_gamma((2,), key, concentration))
    return tf.math.divide_no_nan(a, a + b)  # both underflow to 0 only for tiny concentrations


def permutation(size: Any, seed: Any, salt: int = 0) -> Any:
    """Draw an order of the numbers from 0 to ``size`` - 1, int32; see `uniform`."""
    import tensorflow as tf  # noqa: PLC0415 - as above

    return tf.random.experimental.stateless_shuffle(tf.range(size), _key(seed, salt))


def _key(seed: Any, salt: int) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - as above

    if seed is None:
        return tf.random.uniform((2,), maxval=tf.int64.max, dtype=tf.int64)
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), salt)

"""Which map is weighted; `init_test` compares those of every kind of model."""

import numpy as np
import pytest
from keras import layers as L  # noqa: N812 - as in the package

from fcam_tf import cams
from tests.cams.networks import SQUARE, plain, pooled, scores


def two_branches(x):
    one = L.Conv2D(4, 3, strides=2, name="one")(x)
    other = L.Conv2D(5, 3, strides=2, name="other")(x)
    return scores(L.Concatenate()([pooled(one), pooled(other)]))


def test_no_map_is_taken_that_the_score_does_not_pass():
    model = plain(two_branches)
    with pytest.raises(ValueError, match=r"`layer` must be given.*The last of its maps are.*one"):
        cams.get("layercam", model)
    assert cams.get("layercam", model, "other")(np.ones((3, *SQUARE))).shape == (3, 7, 7)


def test_channels_first_layers_are_refused():
    first = {"data_format": "channels_first"}
    model = plain(
        lambda x: scores(L.GlobalAveragePooling2D(**first)(L.Conv2D(4, 3, name="c", **first)(x))),
        (3, 16, 16),
    )
    with pytest.raises(ValueError, match=r"channels last.*'c' has data_format='channels_first'"):
        cams.get("layercam", model)

import math
import re

import keras
import numpy as np
import pytest

from fcam_tf import checks


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "wanted"),
    [
        ("[0, 1]", [0, 0.5, 1, np.float32(1)], [-1e-9, 1.1, math.nan], "in [0, 1]"),
        ("(0, 1]", [1e-9, 1], [0, math.nan], "in (0, 1]"),
        ("[0, 1)", [0, 0.999], [1], "in [0, 1)"),
        ("[0, inf)", [0, 1e300], [math.inf, -1], "0 or more, and finite"),
        ("(0, inf)", [1e-300], [0, math.inf], "above 0, and finite"),
    ],
)
def test_number(interval, inside, outside, wanted):
    for value in inside:
        checks.number("x", value, interval)
    for value in outside:
        with pytest.raises(ValueError, match=re.escape(f"`x` must be {wanted}. Received: ")):
            checks.number("x", value, interval)


@pytest.mark.parametrize("value", ["1", None, True, [1]])
def test_not_a_number(value):
    with pytest.raises(TypeError, match=r"`x` must be a number. Received: "):
        checks.number("x", value, "[0, 1]")
    with pytest.raises(TypeError, match=r"`x` must be a whole number. Received: "):
        checks.whole("x", value, 0)


def test_another_backend(monkeypatch):
    checks.tensorflow_backend("this")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    wanted = r"this needs the TensorFlow backend\. Received: KERAS_BACKEND=torch"
    with pytest.raises(NotImplementedError, match=wanted):
        checks.tensorflow_backend("this")


def test_whole_and_odd():
    checks.whole("x", np.int64(3), 3)
    checks.odd("x", 3)
    with pytest.raises(ValueError, match=r"`x` must be 3 or more. Received: 2"):
        checks.whole("x", 2, 3)
    with pytest.raises(TypeError, match=r"Received: 2\.5"):
        checks.whole("x", 2.5, 1)
    for value in (0, 4):
        with pytest.raises(ValueError, match=f"Received: {value}"):
            checks.odd("x", value)


def test_rising():
    checks.rising(low=0.1, middle=0.1, high=0.3)
    with pytest.raises(ValueError, match=r"`low`, `high` must rise.*low=0.5, high=0.3"):
        checks.rising(low=0.5, high=0.3)


def test_choice():
    checks.choice("x", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"`x` must be 'a' or 'b'. Received: 'c'"):
        checks.choice("x", "c", ("a", "b"))


def test_class_names():
    assert checks.class_names(None, 2) is None
    assert checks.class_names(["a", "b"], 2) == ("a", "b")
    with pytest.raises(ValueError, match=r"each of the 3 classes. Received: 2 names"):
        checks.class_names(["a", "b"], 3)

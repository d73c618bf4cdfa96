import pytest

from fcam_tf import training
from fcam_tf.lazy import lazily


def test_names_are_imported_on_use():
    getter = lazily("os", {"path": ["join"]})
    assert getter("join")("a", "b") == "a/b"
    with pytest.raises(AttributeError, match="module 'os' has no attribute 'nonsense'"):
        getter("nonsense")


def test_functions_are_not_taken_for_modules():
    assert callable(training.search)
    assert callable(training.stored_cams)

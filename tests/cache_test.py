from pathlib import Path

import pytest

from fcam_tf.cache import cache_folder


@pytest.mark.parametrize(
    ("named", "shared", "expected"),
    [
        ("/mine", "/shared", "/mine"),
        ("", "/shared", "/shared/fcam_tf"),
        ("", "relative", "/home/me/.cache/fcam_tf"),
        ("", "", "/home/me/.cache/fcam_tf"),
    ],
)
def test_the_first_that_is_named(monkeypatch, named, shared, expected):
    monkeypatch.setenv("FCAM_CACHE", named)
    monkeypatch.setenv("XDG_CACHE_HOME", shared)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path(expected)

import pytest

from fcam_tf.predict.labels import find_label

NAMES = ("tench, Tinca tinca", "crane", "tabby, tabby cat", "tiger cat", "crane")


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        (3, 3),
        ("3", 3),
        (" 0 ", 0),
        ("tabby", 2),
        ("Tabby Cat", 2),
        ("tinca tinca", 0),
        ("tench, Tinca tinca", 0),
        ("tiger cat", 3),
    ],
)
def test_found(wanted, label):
    assert find_label(wanted, NAMES, len(NAMES)) == label


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (5, r"must be in 0\.\.4\. Received: 5"),
        ("-1", r"must be in 0\.\.4\. Received: -1"),
        ("crane", r"fits several classes, give an index: 1 \(crane\); 4 \(crane\)"),
        ("tabi", r"'tabi' is no class of this model; did you mean 'tabby'"),
        ("cat", r"did you mean 'tabby cat', 'tiger cat'\?"),
        ("zzzzzz", r"is no class of this model$"),
    ],
)
def test_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        find_label(wanted, NAMES, len(NAMES))


def test_without_names():
    assert find_label("2", None, 3) == 2
    with pytest.raises(ValueError, match="this model has no class names"):
        find_label("tabby", None, 3)

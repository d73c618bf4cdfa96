import pytest

from fcam_tf.names import lookup

TABLE = {"resnet50": 1, "vgg16": 2}


def test_finds():
    assert lookup(TABLE, "vgg16", "backbone") == 2


@pytest.mark.parametrize("name", ["resnet5", "bottle", None, 7])
def test_unknown_names_are_told_with_all_that_there_is(name):
    with pytest.raises(ValueError, match=r"`backbone` is unknown.*There is resnet50, vgg16") as e:
        lookup(TABLE, name, "backbone")
    assert ("Did you mean 'resnet50'" in str(e.value)) == (name == "resnet5")

import pytest
from absl import app

from fcam_tf.commands.weights import weights_of

THREE = ("vgg16", "inceptionv3", "resnet50")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a=1,b.h5").touch()
    return str(tmp_path / "a=1,b.h5")


def test_one_value_is_for_all():
    assert weights_of([], THREE) == dict.fromkeys(THREE, "imagenet")
    assert weights_of(["none"], THREE) == dict.fromkeys(THREE, "none")


def test_each_by_its_name(file):
    wanted = {"vgg16": "none", "inceptionv3": "imagenet", "resnet50": file}
    assert weights_of(["vgg16=none", f"resnet50={file}"], THREE) == wanted
    assert weights_of(["vgg16=none,inceptionv3=imagenet", f"resnet50={file}"], THREE) == wanted
    assert weights_of([file, "vgg16=none,inceptionv3=imagenet"], THREE) == wanted
    assert weights_of(["none", f"resnet50={file}"], THREE)["vgg16"] == "none"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["imagnet"], "neither imagenet nor none nor a file: imagnet"),
        (["vgg16=imagnet"], "neither imagenet nor none nor a file: imagnet"),
        (["vgg16="], "neither imagenet nor none nor a file"),
        (["vgg16=none,"], "unknown: ''"),
        (["runs/lr=0.1/w.h5"], "neither imagenet nor none nor a file: runs"),
        (["vgg19=none"], "unknown: 'vgg19'. Did you mean 'vgg16'"),
        (["vgg16=none", "vgg16=imagenet"], "names vgg16 twice"),
        (["none", "imagenet"], "twice for all backbones: none and imagenet"),
        (["FILE", "vgg16=none"], "names 2: say for which, such as inceptionv3="),
    ],
)
def test_what_is_refused(file, texts, message):
    with pytest.raises(app.UsageError, match=message):
        weights_of([text.replace("FILE", file) for text in texts], THREE)

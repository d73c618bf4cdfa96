import keras
import keras_hub
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.cams.preprocessing import TaskPreprocessing
from fcam_tf.models import FCAM

# Of keras-hub 0.31 with Keras 3.15.
pytestmark = pytest.mark.filterwarnings("ignore:.*'vi_t_image_classifier':UserWarning")

L = keras.layers


def task(size=(32, 32), **options):
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(*size, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    converter = keras_hub.layers.ImageConverter(image_size=size, **options)
    preprocessor = keras_hub.models.ViTImageClassifierPreprocessor(converter)
    return keras_hub.models.ViTImageClassifier(backbone, 2, preprocessor=preprocessor)


def test_other_models_have_none():
    model = keras.Sequential([keras.Input((4, 4, 3)), L.Flatten()])
    model.preprocessor = lambda _: 1 / 0  # of the user's, which `predict` does not run
    assert not TaskPreprocessing(model)


def there_and_back(model, photo):
    """A picture of its own rows and columns goes through the converter and back."""
    there = TaskPreprocessing(model)
    rows, columns = np.meshgrid(*map(np.arange, photo), indexing="ij")
    maps = np.asarray(there(np.stack([rows, columns, columns], -1)[None].astype("float32")))
    for channel, wanted in ((0, rows), (1, columns)):
        yield np.asarray(there.to_photo(maps[..., channel], photo))[0], wanted


@pytest.mark.parametrize("photo", [(40, 60), (61, 32), (32, 32)])
def test_maps_come_back_to_where_the_photo_was_cropped(photo):
    for back, wanted in there_and_back(task(), photo):
        assert back.shape == photo
        side = min(photo)
        top, left = (photo[0] - side) // 2, (photo[1] - side) // 2
        inside = np.s_[top + 2 : top + side - 2, left + 2 : left + side - 2]
        np.testing.assert_allclose(back[inside], wanted[inside], atol=1.01)
        outside = np.ones(photo, bool)
        outside[top : top + side, left : left + side] = False
        assert not back[outside].any()


@pytest.mark.parametrize("photo", [(40, 60), (61, 32)])
def test_padding_is_cut_off(photo):
    model = task(crop_to_aspect_ratio=False, pad_to_aspect_ratio=True)
    for back, wanted in there_and_back(model, photo):
        inside = np.s_[4:-4, 4:-4]
        np.testing.assert_allclose(back[inside], wanted[inside], atol=1.5)


def test_full_size_is_the_size_of_the_photo():
    cam = cams.get("gradcam", task())
    photos = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3)).astype("uint8")
    maps = np.asarray(cam.full_size(photos))
    assert maps.shape == (2, 40, 60)
    assert not maps[:, :, :10].any()
    assert maps[:, :, 10:50].any()


def test_an_fcam_of_one_is_refused():
    with pytest.raises(ValueError, match="has a preprocessor that its graph does not contain"):
        FCAM.from_classifier(task(), method="gradcam")

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from fcam_tf import cams, models
from fcam_tf.models import FCAM
from tests.models.tiny import photos, tiny_classifier


def test_files_and_runs(tmp_path):
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    model.save(tmp_path / "best.keras")
    for path in (tmp_path, tmp_path / "best.keras", str(tmp_path)):
        loaded = models.load(path)
        np.testing.assert_array_equal(loaded(photos())["fcam"], model(photos())["fcam"])
        assert loaded.loss is not None


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        models.load(tmp_path / "a.keras")
    with pytest.raises(FileNotFoundError, match=r"no best\.keras"):
        models.load(tmp_path)
    (tmp_path / "a.keras").write_text("no")
    with pytest.raises(ValueError, match=r"a\.keras"):
        models.load(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and no more", "cut off"),
        (b"\x89HDF\r\n\x1a\n", r"HDF5 file.*\.h5"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_junk_is_told_from_what_is_not_there(tmp_path, content, message):
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.keras is not a Keras model: it.*{message}"):
        models.load(tmp_path / "a.keras")


def test_a_zip_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("letter.txt", "hello")
    with pytest.raises(ValueError, match=r"a\.keras is not a Keras model"):
        models.load(tmp_path / "a.keras")


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_custom_layers(tmp_path):
    x = keras.Input((2,))
    keras.Model(x, Twice()(x)).save(tmp_path / "a.keras")
    loaded = models.load(tmp_path / "a.keras", custom_objects={"Twice": Twice})
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), [[2, 2]])


def test_in_a_new_process(tmp_path):
    """Our own models are known there, and layers of the user are not."""
    FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4)).save(tmp_path / "a.keras")
    x = keras.Input((2,))
    keras.Model(x, Twice()(x)).save(tmp_path / "b.keras")
    code = (
        "import sys, fcam_tf; print(type(fcam_tf.models.load(sys.argv[1])).__name__);"
        "fcam_tf.models.load(sys.argv[2])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.keras", tmp_path / "b.keras"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "FCAM"
    assert "ValueError" in found.stderr
    assert "'Twice', which Keras does not know" in found.stderr
    assert "--import my_layers.py" in found.stderr


class Broken(keras.layers.Layer):
    def call(self, x):
        return x.no_such_attribute


def test_a_layer_whose_code_fails_is_told_with_its_file(tmp_path):
    x = keras.Input((2,))
    keras.Model(x, Twice()(x)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"a\.keras .* its code fails: .*no_such_attribute"):
        models.load(tmp_path / "a.keras", custom_objects={"Twice": Broken})


def test_lambdas_are_loaded_by_who_trusts_them(tmp_path):
    x = keras.Input((2,))
    keras.Model(x, keras.layers.Lambda(lambda x: 3 * x)(x)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="safe_mode=False"):
        models.load(tmp_path / "a.keras")
    loaded = models.load(tmp_path / "a.keras", safe_mode=False)
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), [[3, 3]])


@keras.saving.register_keras_serializable("tests")
class Whole(keras.Model):
    """Built by a call, and made again from its configuration."""

    def __init__(self, width=4, **options):
        super().__init__(**options)
        self.width = width
        self.first = keras.layers.Conv2D(width, 3, 4, activation="relu", name="top")
        self.pool, self.scores = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)

    def call(self, images):
        return self.scores(self.pool(self.first(images)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests")
class Bare(keras.Model):
    """Without the arguments that Keras saves of each model."""

    def __init__(self):
        super().__init__()
        self.scores = keras.layers.Dense(3)

    def call(self, x):
        return self.scores(x)


def test_a_subclassed_model_is_explained_once_it_is_loaded(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    model = Whole(5)
    model(images)
    model.save(tmp_path / "a.keras")
    cam = cams.get("gradcam", models.load(tmp_path / "a.keras"))
    assert cam.layers == ("top",)
    np.testing.assert_allclose(cam.maps_and_logits(images)[1], model(images), rtol=1e-4)


def test_a_subclassed_model_that_cannot_be_made_again(tmp_path):
    model = Bare()
    model(np.zeros((1, 2)))
    model.save(tmp_path / "a.keras")
    message = r"a\.keras holds a Bare that cannot be made .*'trainable'\. Its __init__ must take"
    with pytest.raises(ValueError, match=message):
        models.load(tmp_path / "a.keras")


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    error = TypeError(
        "Could not deserialize class 'Vit' because its parent module hub.vit cannot be imported."
    )

    def load_model(*_, **__):
        raise error

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "a.keras")
    monkeypatch.setattr("keras.saving.load_model", load_model)
    message = r"'Vit' of hub\.vit, which cannot be imported\. Install that package, or give it as"
    with pytest.raises(ValueError, match=message):
        models.load(tmp_path / "a.keras")

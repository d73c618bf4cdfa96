"""``--model`` and ``--import`` of all commands that take them."""

import keras
import numpy as np
import pytest
from PIL import Image

from fcam_tf import cli, models, zoo
from fcam_tf.commands.model import complete_model, find_model, import_files
from fcam_tf.data import write_shapes
from fcam_tf.identity import file_sha256, imported, model_sha256
from fcam_tf.names import PRETRAINED
from tests.models.tiny import tiny_classifier

LAYERS = """
import keras

class Halve(keras.layers.Layer):
    def call(self, x):
        return x / 2
"""


def test_the_names_that_help_shows_are_the_ones_there_are():
    pretrained = {name for name, spec in models.BACKBONES.items() if spec.source.has_head}
    assert set(PRETRAINED) == pretrained


def test_a_model_is_known_by_its_file(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"weights")
    assert find_model(str(tmp_path / "a.keras")).sha256 == file_sha256(tmp_path / "a.keras")
    assert find_model("efficientnetlite_b0").sha256 == PRETRAINED["efficientnetlite_b0"]


def test_a_file_that_is_replaced_before_it_is_loaded_is_refused(tmp_path):
    file = tmp_path / "a.keras"
    tiny_classifier(classes=2).save(file)
    found = find_model(str(file))
    assert found.load().output_shape == (None, 2)
    tiny_classifier(classes=3).save(file)
    with pytest.raises(ValueError, match=r"a\.keras was replaced meanwhile"):
        found.load()


def test_the_zoo_is_listed_once_for_a_name(monkeypatch):
    listed = []

    def folders(there=zoo.folders):
        listed.append(1)
        return there()

    name = zoo.list_models()[0]
    for module in (zoo, zoo.entries):
        monkeypatch.setattr(module, "folders", folders)
    monkeypatch.setattr(zoo, "load", zoo.entries.card)
    assert find_model(name).load()["name"] == name
    assert len(listed) == 1


def test_names_to_complete():
    assert complete_model("efficientnetlite_b0_g") == [
        "efficientnetlite_b0_gradcam",
        "efficientnetlite_b0_gradcampp",
    ]
    assert "efficientnetlite_b0" in complete_model("eff")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with a layer that Keras does not know, the layer's code, a photo and a data set."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "my_layers.py").write_text(LAYERS)
    names = {}
    exec(LAYERS, names)  # noqa: S102 - our own text
    x = images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(names["Halve"]()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(images, keras.layers.Dense(5)(x)).save(folder / "a.keras")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "p.png")
    write_shapes(folder / "shapes", {"train": 5, "val": 15, "test": 5}, 48)
    return folder


@pytest.fixture
def known_layers():
    """Forget what a command has imported."""
    known = keras.saving.get_custom_objects()
    before = dict(known)
    yield known
    imported.clear()
    known.clear()
    known.update(before)


@pytest.mark.usefixtures("known_layers")
def test_a_model_is_known_by_the_code_of_its_layers_too(folder, tmp_path):
    def hashes():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "relu", False, "ones")])
        return find_model(str(folder / "a.keras")).sha256, model_sha256(model)

    code = tmp_path / "code.py"
    found = [hashes()]
    for text in ("factor = 2", "factor = 3", "factor = 2"):
        code.write_text(text)
        import_files([str(code)])
        found.append(hashes())
    assert found[1] == found[3]  # the one that the command names, wherever it was before
    for each in zip(*found, strict=True):
        assert len(set(each)) == 3
    import_files([])
    assert hashes() == found[0]


def test_classes_that_the_file_imports_are_known_too(known_layers, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "package_of_mine.py").write_text(LAYERS)
    code = tmp_path / "code.py"
    code.write_text("from keras.layers import Dense\nfrom package_of_mine import Halve\n")
    import_files([str(code)])
    assert known_layers["Halve"].__module__ == "package_of_mine"
    assert "Dense" not in known_layers


NAME = "mobilenet_v3_large_cam"
TRAIN = "--data shapes --model a.keras --out out"


@pytest.mark.usefixtures("known_layers")
@pytest.mark.parametrize(
    "command",
    [
        "localize p.png --model a.keras",
        "evaluate --data shapes --model a.keras --out out",
        "export a.keras exported",
        *(f"train {stage} {TRAIN}" for stage in ("classifier", "fcam", "fsl")),
        f"search fcam {TRAIN} --draw learning_rate=0..0.1",
        f"zoo make {NAME} --run a.keras --data shapes --licence x --trained-on y --out out",
    ],
)
def test_custom_layers_come_from_a_file(folder, command, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    real = models.load

    def load(path, **options):
        model = real(path, **options)
        raise ValueError(f"a {type(model.layers[1]).__name__} is there")

    monkeypatch.setattr("fcam_tf.models.load", load)
    command = ["fcam", *command.split()]
    assert cli.run(command) == 2
    assert "--import my_layers.py" in capfd.readouterr().err
    for name, message in (("no.py", "there is no such file"), ("p.png", "failed: ")):
        assert cli.run([*command, "--import", name]) == 2
        assert f"--import {name}" in (err := capfd.readouterr().err)
        assert message in err
    assert cli.run([*command, "--import", "my_layers.py"]) == 2
    assert "a Halve is there" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("export no/such.kers out", "fcam export: model no/such.kers: there is no such file"),
        ("export nosuch out", "fcam export: model is unknown: 'nosuch'"),
        ("localize p.png --model nosuch", "fcam localize: --model is unknown: 'nosuch'"),
    ],
)
def test_a_model_that_is_not_there(command, words, capfd):
    assert cli.run(["fcam", *command.split()]) == 2
    assert words in capfd.readouterr().err

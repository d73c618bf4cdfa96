import re
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from fcam_tf import baselines, data, training, zoo
from fcam_tf.models import BACKBONES, FCAM, Classifier, WeightsUnavailableError
from fcam_tf.names import BASELINES
from fcam_tf.zoo import entries
from fcam_tf.zoo.entries import buildable
from fcam_tf.zoo.fetch import find_weights
from fcam_tf.zoo.weights import write_weights
from tests.children import Child
from tests.models.tiny import photos, tiny_backbone, tiny_classifier
from tests.zoo.conftest import ABOUT, NAME

IMAGES = photos(2, 64)


@pytest.mark.usefixtures("own")
def test_an_entry_is_the_model_that_was_saved(model):
    loaded = zoo.load(NAME)
    assert isinstance(loaded, FCAM)
    np.testing.assert_allclose(loaded(IMAGES)["logits"], model(IMAGES)["logits"], atol=5e-2)
    assert (loaded.threshold, loaded.class_names) == (0.25, ("a", "b", "c"))
    assert loaded.name == NAME
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    zoo.verify(zoo.card(NAME), loaded)


@pytest.mark.usefixtures("own")
def test_without_weights():
    model = zoo.load(NAME, weights=None)
    with pytest.raises(ValueError, match="does not answer as its card says"):
        zoo.verify(zoo.card(NAME), model)


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("name", ["logits", "fcam"])
@pytest.mark.usefixtures("own")
def test_a_card_with_other_answers_than_the_model_gives_is_refused(model, name, length):
    card = zoo.card(NAME)
    known = len(card["check"][name])
    card["check"][name] = card["check"][name][:length]
    message = f"that has {length} {name}, not {known}"
    with pytest.raises(ValueError, match=f"does not answer as its card says: {message}"):
        zoo.verify(card, model)


def test_weights_from_a_path(own, model):
    path = own / NAME / "weights.safetensors"
    other = path.rename(own / "other.safetensors")
    loaded = zoo.load(NAME, weights=other)
    np.testing.assert_allclose(loaded(IMAGES)["fcam"], model(IMAGES)["fcam"], atol=5e-2)
    for wrong in ("imagenet", own):
        message = f'`weights` must be "auto", None or a file. There is no file {wrong}'
        with pytest.raises(FileNotFoundError, match=message):
            zoo.load(NAME, weights=wrong)


@pytest.mark.usefixtures("own")
def test_other_classes_keep_everything_but_the_head():
    model, other = zoo.load(NAME), zoo.load(NAME, class_names=("cat", "dog"))
    assert (other.num_classes, other.class_names) == (2, ("cat", "dog"))
    np.testing.assert_array_equal(other(IMAGES)["fcam"], model(IMAGES)["fcam"])
    assert other(IMAGES)["logits"].shape == (2, 2)
    assert zoo.load(NAME, num_classes=7).num_classes == 7
    assert zoo.load(NAME, num_classes=3).class_names == ("a", "b", "c")
    with pytest.raises(TypeError, match="`class_names` must be a list"):
        zoo.load(NAME, class_names="cat")
    other.unfreeze(head_only=True)
    before = np.asarray(other.get_layer("logits").kernel).copy()
    other.compile(other.optimizer, other.loss)
    other.fit(IMAGES, np.array([0, 1]), batch_size=2, verbose=0)
    assert (np.asarray(other.get_layer("logits").kernel) != before).any()


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["tiny", "whole"])
def efficientnetlite(request, monkeypatch):
    """Let efficientnetlite_b0 be what it is, or a tiny backbone."""
    name = "efficientnetlite_b0"
    if request.param:
        monkeypatch.setitem(BACKBONES, name, tiny_backbone(name))
    return name


def test_what_is_untrained_starts_from_its_backbone(efficientnetlite, tmp_path):
    with pytest.raises(WeightsUnavailableError, match="vgg16"):
        zoo.load("vgg16_adl")
    name = f"{efficientnetlite}_fsl"
    with pytest.warns(UserWarning, match=f"{name} has not been trained yet.*head of 2 classes"):
        model = zoo.load(name, class_names=["cat", "dog"])
    assert (model.num_classes, model.class_names, model.method) == (2, ("cat", "dog"), "cam")
    layer = model.classifier.layers[2].name
    pretrained = Classifier(efficientnetlite).get_layer(layer).get_weights()
    assert len(pretrained) == 1 + (layer == "conv1")  # a kernel, perhaps with a bias
    for mine, theirs in zip(model.get_layer(layer).get_weights(), pretrained, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match=f"{name} has not been trained"):
        zoo.verify(zoo.card(name), model)
    path = tmp_path / "weights.safetensors"
    write_weights(model, path)
    again = zoo.load(name, path, num_classes=2)  # no warning: these are somebody's
    np.testing.assert_allclose(again(IMAGES)["logits"], model(IMAGES)["logits"], atol=5e-2)


@pytest.mark.parametrize(
    ("name", "baseline", "method", "stride", "blocks"),
    [
        pytest.param("resnet50_layercam", "", "layercam", 8, 5, marks=pytest.mark.slow),
        ("vgg16_acol", "acol", "acol", 8, 3),
        pytest.param("mobilenet_v3_large_has", "has", "has", 16, 5, marks=pytest.mark.slow),
        pytest.param("densenet121_fsl", "", "cam", 8, 5, marks=pytest.mark.slow),
    ],
)
def test_the_rule_is_what_can_be_built(monkeypatch, name, baseline, method, stride, blocks):
    monkeypatch.setattr(entries, "find_folder", lambda _: None)
    model = zoo.load(name, weights=None)
    assert (model.method, model.classifier.baseline.name) == (method, baseline)
    assert (model.classifier.output_stride, model.num_classes) == (stride, 200)
    assert len(model.decoder_filters) == blocks


def test_the_rule_knows_where_baselines_are_set_up():
    for backbone, spec in BACKBONES.items():
        for method in BASELINES:
            fits = baselines.METHODS[method].augments or bool(spec.attention)
            assert (f"{backbone}_{method}" in buildable()) == fits


@pytest.mark.usefixtures("own")
def test_equal_weights_are_stored_once(model):
    twin = "mobilenet_v3_large_xgradcam"
    folder = zoo.save(model, twin, **ABOUT)
    assert [path.name for path in folder.iterdir()] == ["card.json"]
    assert zoo.card(twin)["weights"]["entry"] == NAME
    zoo.verify(zoo.card(twin), zoo.load(twin))
    # One entry has a file, and all others name that one.
    third = "mobilenet_v3_large_gradcam"
    zoo.save(model, third, **ABOUT)
    assert zoo.card(third)["weights"]["entry"] == NAME


@pytest.mark.usefixtures("own")
def test_save_refuses_what_it_cannot_rebuild(tmp_path, model):
    tiny = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    with pytest.raises(TypeError, match="rebuilt"):
        zoo.save(tiny, "tiny_cam", tmp_path, **ABOUT)
    with pytest.raises(FileExistsError, match="--replace"):
        zoo.save(model, NAME, **ABOUT)
    with pytest.raises(ValueError, match="name"):
        zoo.save(model, "Bad Name", tmp_path, **ABOUT)
    assert not list(tmp_path.glob("*ad*"))


def test_save_writes_nowhere_else(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="name"):
        zoo.save(model, "../q/x", "zoo", **ABOUT)
    monkeypatch.setenv("FCAM_ZOO", "https://zoo.example")
    with pytest.raises(ValueError, match=r"must be on this machine.*which FCAM_ZOO names"):
        zoo.save(model, NAME, **ABOUT)
    assert not list(tmp_path.iterdir())


SAVE = """
import os, pathlib, signal, sys
from fcam_tf.models import BACKBONES, FCAM, Classifier
from fcam_tf.zoo import save
from tests.models.tiny import tiny_backbone
BACKBONES["vgg16"] = tiny_backbone("vgg16")
write = pathlib.Path.write_bytes
def write_half(path, data):
    if path.name == "weights.safetensors":
        write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, data)
pathlib.Path.write_bytes = write_half
model = FCAM.from_classifier(Classifier("vgg16", 2, weights=None), decoder_filters=(2, 2, 2))
save(model, sys.argv[1], sys.argv[2], trained_on="nothing", licence="none")
"""


@pytest.mark.slow
def test_a_killed_save_leaves_no_entry_and_the_next_succeeds(model, tmp_path, monkeypatch):
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    child = Child(SAVE, [NAME, tmp_path])
    told = child.communicate()
    assert child.poll() == -signal.SIGKILL, told
    (left,) = tmp_path.glob("*/*/*")
    assert left.name == "weights.safetensors"
    assert left.stat().st_size > 10_000
    assert NAME not in zoo.list_models()
    zoo.save(model, NAME, **ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert find_weights(zoo.card(NAME), tmp_path / NAME).stat().st_size > 100_000


def test_int8_is_smaller_and_close(model, built, tmp_path, monkeypatch):
    zoo.save(model, NAME, tmp_path, int8=True, **ABOUT)
    sizes = [(root / NAME / "weights.safetensors").stat().st_size for root in (built, tmp_path)]
    assert sizes[1] < 0.7 * sizes[0]
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    loaded = zoo.load(NAME)
    zoo.verify(zoo.card(NAME), loaded)
    difference = np.abs(loaded(IMAGES)["fcam"] - model(IMAGES)["fcam"])
    assert difference.mean() < 0.1


@pytest.mark.parametrize("int8", [False, True])
def test_what_will_be_loaded_is_measured(model, tmp_path, monkeypatch, int8):
    seen = []

    def measure(stored):
        stored.threshold = 0.5
        seen.append(stored)
        return []

    zoo.save(model, NAME, tmp_path, measure=measure, int8=int8, **ABOUT)
    (stored,) = seen
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    loaded = zoo.load(NAME)
    for a, b in zip(stored.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (stored.threshold, stored.input_size) == (loaded.threshold, loaded.input_size)
    tiny_fcam = FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))
    with pytest.raises(TypeError, match="rebuilt"):
        zoo.save(tiny_fcam, NAME, tmp_path / "other", **ABOUT)


def test_an_entry_is_replaced_by_a_complete_one_alone(model, own):
    before = sorted((path, path.read_bytes()) for path in own.rglob("*") if path.is_file())
    with pytest.raises(TypeError, match="`recipe` and `scores` must hold what JSON can"):
        zoo.save(model, NAME, replace=True, recipe={"folder": own}, **ABOUT)
    assert sorted((path, path.read_bytes()) for path in own.rglob("*") if path.is_file()) == before
    zoo.save(model, NAME, replace=True, int8=True, **ABOUT)
    zoo.verify(zoo.card(NAME), zoo.load(NAME))
    assert [path.name for path in own.iterdir()] == [NAME]
    assert len(list((own / NAME).iterdir())) == 2
    twin = "mobilenet_v3_large_xgradcam"
    zoo.save(model, twin, int8=True, **ABOUT)
    with pytest.raises(ValueError, match=f"holds the weights of {twin} as well. Remove those"):
        zoo.save(model, NAME, replace=True, **ABOUT)
    zoo.save(model, twin, replace=True, int8=True, **ABOUT)
    assert zoo.card(twin)["weights"]["entry"] == NAME


def test_a_recipe_that_json_cannot_hold_is_refused(model, tmp_path):
    with pytest.raises(TypeError, match="`recipe` and `scores` must hold what JSON can"):
        zoo.save(model, NAME, tmp_path, recipe={"folder": tmp_path}, **ABOUT)
    assert not list(tmp_path.iterdir())


def test_a_pretrained_classifier_is_not_stored_again(efficientnetlite, tmp_path, monkeypatch):
    name = f"{efficientnetlite}_cam"
    keras.utils.set_random_seed(0)  # how far rounding moves a new decoder's maps varies
    classifier = Classifier(efficientnetlite)
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 8, 4, 4, 4))
    zoo.save(model, name, tmp_path / "a", **ABOUT)
    assert (tmp_path / "a" / name / "weights.safetensors").stat().st_size < 1e6
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path / "a"))
    loaded = zoo.load(name)
    np.testing.assert_array_equal(loaded(IMAGES)["logits"], model(IMAGES)["logits"])
    np.testing.assert_allclose(loaded(IMAGES)["fcam"], model(IMAGES)["fcam"], atol=5e-2)
    zoo.verify(zoo.card(name), loaded)
    path = tmp_path / "a" / name / "weights.safetensors"
    again = zoo.load(name, weights=path, num_classes=2)
    np.testing.assert_array_equal(again(IMAGES)["fcam"], loaded(IMAGES)["fcam"])
    with pytest.raises(ValueError, match="does not answer"):
        zoo.verify(zoo.card(name), zoo.load(name, weights=None))
    # One that was trained on is another.
    classifier.get_layer("logits").bias.assign_add(np.ones(1000))
    zoo.save(FCAM.from_classifier(classifier), name, tmp_path / "b", **ABOUT)
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path / "b"))
    assert zoo.card(name)["weights"]["backbone"] == "imagenet"
    first = next(layer for layer in classifier.layers if layer.weights)
    first.set_weights([values + 1e-3 for values in first.get_weights()])
    zoo.save(FCAM.from_classifier(classifier), name, tmp_path / "c", **ABOUT)
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path / "c"))
    assert not {"classifier", "backbone"} & zoo.card(name)["weights"].keys()


def test_a_pretrained_backbone_is_not_stored_again(efficientnetlite, tmp_path, monkeypatch):
    name = f"{efficientnetlite}_cam"
    classifier = Classifier(efficientnetlite, 2, class_names=["cat", "dog"])
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 8, 4, 4, 4))
    zoo.save(model, name, tmp_path, **ABOUT)
    assert (tmp_path / name / "weights.safetensors").stat().st_size < 1e6
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    loaded = zoo.load(name)
    np.testing.assert_allclose(loaded(IMAGES)["logits"], model(IMAGES)["logits"], atol=1e-2)
    np.testing.assert_allclose(loaded(IMAGES)["fcam"], model(IMAGES)["fcam"], atol=5e-2)
    zoo.verify(zoo.card(name), loaded)
    again = zoo.load(name, num_classes=3)
    np.testing.assert_array_equal(again(IMAGES)["fcam"], loaded(IMAGES)["fcam"])
    assert again(IMAGES)["logits"].shape == (2, 3)
    with pytest.raises(ValueError, match="does not answer"):
        zoo.verify(zoo.card(name), zoo.load(name, weights=None))


def test_a_baseline_comes_back(efficientnetlite, tmp_path, monkeypatch):
    name = f"{efficientnetlite}_adl"
    options = {"drop_rate": 0.5, "threshold": 0.8}
    classifier = Classifier(efficientnetlite, 2, weights=None, baseline="adl", options=options)
    zoo.save(FCAM.from_classifier(classifier, method="adl"), name, tmp_path, **ABOUT)
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    loaded = zoo.load(name)
    assert loaded.method == "adl"
    assert loaded.classifier.baseline == classifier.baseline
    assert zoo.load(name, num_classes=4).classifier.baseline == classifier.baseline
    zoo.verify(zoo.card(name), loaded)


def test_the_layers_of_the_teacher_come_back(efficientnetlite, tmp_path, monkeypatch):
    name, options = f"{efficientnetlite}_layercam", {"method": "layercam", "layer": ["P4", "P5"]}
    classifier = Classifier(efficientnetlite, 2, weights=None)
    zoo.save(FCAM.from_classifier(classifier, **options), name, tmp_path, **ABOUT)
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path))
    assert zoo.load(name).teacher.layers == ("P4", "P5")
    assert zoo.load(name, num_classes=4).teacher.layers == ("P4", "P5")


@pytest.mark.usefixtures("own")
def test_fit_goes_on_by_what_taught_an_entry(model):
    """By the maps that the recipe stored, or else by those of the model that was saved."""
    stored = {"cams": "stored", "stored_scales": [1.0, 2.0], "stored_flip": True}
    online = stored | {"cams": "online", "stored_scales": [1.0], "stored_flip": False}

    def taught(name, saved, recipe):
        zoo.save(saved, name, recipe=recipe, **ABOUT)
        found = [zoo.load(name), zoo.load(name, num_classes=5)]
        assert found[0].teacher.averages == found[1].teacher.averages
        return found[0]

    by_recipe = taught("mobilenet_v3_large_cam.a", model, stored)
    assert (by_recipe.teacher.scales, by_recipe.teacher.flip) == ((1, 2), True)
    again = taught("mobilenet_v3_large_cam.b", by_recipe, online)
    assert again.get_config() | {"name": ""} == by_recipe.get_config() | {"name": ""}
    assert not taught("mobilenet_v3_large_cam.c", model, online).teacher.averages
    # What teaches changes no answer.
    names = [NAME, *(f"mobilenet_v3_large_cam.{end}" for end in "abc")]
    assert len({zoo.identity(name) for name in names}) == 1


def test_bundled_entries_have_valid_cards(monkeypatch):
    monkeypatch.delenv("FCAM_ZOO", raising=False)
    names = zoo.list_models()
    assert {zoo.card(name)["name"] for name in names} == set(names)


# Keras says so of every data set that shuffles by itself.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
@pytest.mark.filterwarnings("ignore:The 1000 classes of the model are not the 3:UserWarning")
@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.traced
def test_finetuning_as_its_page_shows_it(shared_data, tmp_path, monkeypatch):
    """The score on photos that chose nothing rises; with new classes, learnt, it is not lost."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "finetuning.md"
    first, second = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    val, train = (data.load(shared_data / "pets3", split) for split in ("val", "train"))
    validation = training.Validation(val.subset(range(0, len(val), 2)))
    some = {"train": train.subset(range(0, len(train), 2))}
    monkeypatch.setattr(data, "load", lambda _folder, split: some[split])
    before = validation(zoo.load("efficientnetlite_b0_gradcam").maps_and_logits, False)
    names = {"DATA": shared_data / "pets3"}
    keras.utils.set_random_seed(0)
    assert "stored_scales=1,1.43,2" in first  # two will do here
    exec(first.replace("1,1.43,2", "1,1.43"), names)  # noqa: S102 - a page of our own
    after = validation(names["model"].maps_and_logits, False)
    assert after["PxAP"] > before["PxAP"]
    before = validation(zoo.load("efficientnetlite_b0_cam").maps_and_logits, False)
    some["train"] = train.subset(range(0, len(train), 6))  # enough for three classes
    exec(second, names)  # noqa: S102
    found = validation(names["model"].maps_and_logits)
    assert found["accuracy"] > 80
    assert found["PxAP"] > before["PxAP"] - 1
    assert (tmp_path / "pets.keras").exists()

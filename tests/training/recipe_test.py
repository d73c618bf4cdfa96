import dataclasses
import json

import pytest

from fcam_tf.losses import FCAMLoss
from fcam_tf.names import RECIPES
from fcam_tf.training import CLASSIFIER_PRESETS, FCAM_PRESETS, ClassifierRecipe, FCAMRecipe, Recipe
from fcam_tf.training.recipe import FSL_PRESETS, get


def test_the_paper_s_numbers():
    cub = FCAM_PRESETS["cub"]
    assert (cub.epochs, cub.batch_size, cub.learning_rate) == (50, 32, 0.01)
    assert (cub.momentum, cub.weight_decay, cub.resize, cub.crop) == (0.9, 1e-4, 256, 224)
    assert FCAM_PRESETS["openimages"].select == "PxAP"
    assert CLASSIFIER_PRESETS["ilsvrc"].head_ratio == 10


@pytest.mark.parametrize("name", FCAM_PRESETS)
def test_masks_alone_teach_full_supervision(name):
    recipe = get("fsl", name)
    weights = FCAMLoss(**recipe.loss).weights
    assert {term for term, weight in weights.items() if weight} == {"masks", "classification"}
    assert recipe.epochs == FCAM_PRESETS[name].epochs
    assert recipe.train == ("decoder" if name == "small" else "all")


def test_learning_rate_falls_in_steps():
    recipe = Recipe(learning_rate=1.0, lr_step=2, lr_factor=0.1)
    assert [recipe.learning_rate_at(e) for e in (1, 2, 3, 4)] == [1, 1, 0.1, 0.1]
    assert recipe.learning_rate_at(5) == pytest.approx(0.01)
    assert recipe.learning_rate_at(1000) == 1e-7
    assert Recipe(learning_rate=0.5).learning_rate_at(1000) == 0.5


def test_settings_change_a_copy():
    recipe = FCAMRecipe(loss={"crf": 1e-9})
    changed = recipe.changed(
        ["epochs=3", "learning_rate=1", "select=PxAP", "flip=false", "loss.size=0.2"]
    )
    assert changed == dataclasses.replace(
        recipe,
        epochs=3,
        learning_rate=1.0,
        select="PxAP",
        flip=False,
        loss={"crf": 1e-9, "size": 0.2},
    )
    assert changed.changed(["decoder_filters=[8, 4]"]).decoder_filters == (8, 4)
    assert recipe.loss == {"crf": 1e-9}
    changed = recipe.changed(
        ["layer=P4,P5", "cams=stored", "stored_scales=1,1.5", "stored_flip=true", "stored_size=32"]
    )
    assert (changed.layer, changed.stored_scales) == (("P4", "P5"), (1.0, 1.5))
    assert (changed.stored_flip, changed.stored_size) == (True, 32)
    assert recipe.changed(["decoder_filters=8,4"]).decoder_filters == (8, 4)
    assert recipe.changed(["decoder_filters=8"]).decoder_filters == (8,)
    assert recipe.changed(['layer=["relu1"]']).layer == ("relu1",)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "A setting must be KEY=VALUE"),
        ("epoch=3", "epochs"),
        ("epochs=many", "`epochs` must be int"),
        ("epochs=1.5", "`epochs` must be int"),
        ("flip=1", "`flip` must be bool"),
        ("batch_size=0", "`batch_size` must be 1 or more"),
        ("learning_rate=-1", "`learning_rate`"),
        ("learning_rate=Infinity", "`learning_rate`"),
        ("crop=300", "`crop` must not exceed"),
        ("select=IoU", "`select`"),
        ("cams=offline", "`cams`"),
        ("stored_scales=1,2", "`stored_scales` is for cams='stored': online the model's own"),
        ("stored_flip=true", "`stored_flip` is for cams='stored'"),
        ("ema=1.0", r"`ema` must be in \[0, 1\)"),
        ("stored_refine=crf", "`stored_refine` is for cams='stored'"),
        ("stored_refine=bilateral", "`stored_refine` must be '' or 'crf'"),
        ("stored_size=32", "`stored_size` is for cams='stored'.*Received: 32"),
        ("decoder_filters=8,x", "`decoder_filters` must be int, with commas.*'x'"),
        ("decoder_filters=8.5", "`decoder_filters` must be int"),
        ("layer=P4,", "`layer` must be str"),
        ("stored_scales=true", "`stored_scales` must be float"),
        ("loss.colour=1", "colour"),
        ("epochs.x=3", "`epochs` is one value"),
        ("loss.crf=abc", "`loss` contains a value of a wrong type"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        FCAMRecipe().changed([setting])


def test_bad_training_of_a_classifier():
    with pytest.raises(ValueError, match="`train`"):
        ClassifierRecipe(train="some")


@pytest.mark.parametrize("recipe", [ClassifierRecipe(train="head"), FCAMRecipe(loss={"crf": 0.0})])
def test_files(recipe, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(dataclasses.asdict(recipe)))
    assert type(recipe).from_json(path) == recipe
    assert (
        get("classifier" if isinstance(recipe, ClassifierRecipe) else "fcam", str(path)) == recipe
    )


def test_files_of_older_versions(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"val_share": 0.3, "loss": {"negative_share": 0.4}}))
    assert FCAMRecipe.from_json(path) == FCAMRecipe(
        val_fraction=0.3, loss={"negative_fraction": 0.4}
    )


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({"epochz": 3})])
def test_bad_files(text, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"recipe.json|epochz"):
        FCAMRecipe.from_json(path)


def test_unknown_presets_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="cub"):
        get("fcam", "cup")


def test_the_names_of_presets():
    for presets in (CLASSIFIER_PRESETS, FCAM_PRESETS, FSL_PRESETS):
        assert tuple(presets) == RECIPES


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "is not a recipe: .*codec can't decode"),
        (b"[" * 100_000, "is not a recipe: .*recursion"),
        (b'{"epochs": %s}' % (b"1" * 5000), "is not a recipe: .*digits"),
        (b'{"epochs": "3"}', "`epochs` must be int"),
        (b'{"loss": {"crf": []}}', "crf"),
    ],
)
def test_a_damaged_recipe_is_named(tmp_path, data, message):
    path = tmp_path / "recipe.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"recipe\.json.*{message}"):
        FCAMRecipe.from_json(path)

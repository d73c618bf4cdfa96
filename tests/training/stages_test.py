"""What the commands share; their own tests run it, and here is what Python alone can ask."""

import dataclasses

import keras
import pytest
from rich.console import Console

from fcam_tf import baselines, models
from fcam_tf.data import write_shapes
from fcam_tf.training import Start, load_splits, recipe_of, report, train
from tests.models.tiny import tiny_classifier

FAST = ("epochs=1", "batch_size=5", "resize=36", "crop=32", "select=accuracy")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    counts = {"train": 5, "val": 10, "test": 4}
    return str(write_shapes(tmp_path_factory.mktemp("data") / "shapes", counts, 48))


def tiny():
    return tiny_classifier(classes=5)


def test_precision_is_of_the_recipe_and_the_user_s_policy_stays(root, tmp_path):
    recipe = recipe_of("classifier", "cub", [*FAST, "mixed_precision=true"])
    start = Start("mobilenet_v3_large", weights="none", output_stride=32)
    splits = load_splits("classifier", root, recipe.select, pytest.fail)
    first = train("classifier", start, recipe, splits, tmp_path / "a")
    assert models.load(first.best).compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    # The next stage takes the classifier over into its own precision.
    second = dataclasses.replace(start, model=lambda: models.load(first.best))
    recipe = recipe_of("fcam", "cub", FAST)
    run = train("fcam", second, recipe, splits, tmp_path / "b")
    assert models.load(run.best).compute_dtype == "float32"


def test_the_same_seed_gives_the_same_start(root, tmp_path):
    recipe = recipe_of("fcam", "cub", [*FAST, "epochs=0"])
    splits = load_splits("fcam", root, "accuracy", pytest.fail)
    found = []
    for folder in ("a", "b"):
        run = train("fcam", Start(tiny), recipe, splits, tmp_path / folder)
        found.append(models.load(run.best).get_layer("decoder_head").get_weights()[0])
    assert (found[0] == found[1]).all()


def test_settings_of_a_baseline_are_used_or_refused(root, tmp_path):
    recipe = recipe_of("classifier", "cub", [*FAST, "epochs=0", "baseline.drop_rate=0.2"])
    splits = load_splits("classifier", root, "accuracy", pytest.fail)
    start = Start("efficientnetlite_b0", "has", weights="none")
    run = train("classifier", start, recipe, splits, tmp_path / "a")
    assert models.load(run.best).baseline == baselines.HaS(drop_rate=0.2)
    for other, message in (
        (dataclasses.replace(start, method=None), "`method` is cam"),
        (Start(tiny, "has"), "needs a classifier that is built so"),
    ):
        with pytest.raises(ValueError, match=message):
            train("classifier", other, recipe, splits, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_full_supervision_needs_masks():
    with pytest.raises(ValueError, match=r"`loss.masks` must be above 0.*recipe cub with loss="):
        recipe_of("fsl", "cub", ["loss.masks=0"])


def test_nothing_to_choose_or_to_test_by(root, tmp_path):
    told = []
    train_images, none = load_splits("classifier", str(write_plain(tmp_path)), "PxAP", told.append)
    assert (len(train_images), none) == (2, None)
    assert told == ["no boxes or masks for val: the last epoch will be kept, not the best"]
    recipe = recipe_of("classifier", "cub", [*FAST, "epochs=0"])
    splits = load_splits("classifier", root, recipe.select, pytest.fail)
    run = train("classifier", Start(tiny), recipe, splits, tmp_path / "run")
    assert report(run, str(tmp_path / "plain"), Console()) is None
    page = report(run, root, Console(quiet=True))
    assert page.is_file()


def write_plain(folder):
    from PIL import Image  # noqa: PLC0415

    for name in ("a", "b"):
        path = folder / "plain" / "train" / name / "x.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (48, 48)).save(path)
    return folder / "plain"

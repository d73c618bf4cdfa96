"""What the commands share; their own tests run it, and here is what Python alone can ask."""

import dataclasses

import keras
import pytest
from rich.console import Console

from fcam_tf import baselines, models
from fcam_tf.data import write_shapes
from fcam_tf.identity import weights_identity
from fcam_tf.training import (
    FCAMRecipe,
    Start,
    cam_store,
    load_split,
    load_splits,
    recipe_of,
    report,
    teacher_of,
    train,
)
from fcam_tf.training.cam_store import store
from fcam_tf.training.stages import STORED_BY
from tests.models.tiny import tiny_classifier

pytestmark = pytest.mark.usefixtures("undrawn")
FAST = ("epochs=1", "batch_size=5", "resize=36", "crop=32", "select=accuracy")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    counts = {"train": 5, "val": 10, "test": 4}
    return str(write_shapes(tmp_path_factory.mktemp("data") / "shapes", counts, 48))


def tiny():
    return tiny_classifier(classes=5)


def save_tiny(folder):
    """Save a classifier; return what loads it, the same each time."""
    tiny().save(folder / "tiny.keras")
    return lambda: models.load(folder / "tiny.keras")


def test_precision_is_of_the_recipe_and_the_user_s_policy_stays(tiny_backbone, root, tmp_path):
    recipe = recipe_of("classifier", "cub", [*FAST, "epochs=0", "mixed_precision=true"])
    start = Start(tiny_backbone, weights="none", output_stride=32)
    splits, _ = load_splits("classifier", root, recipe, pytest.fail)
    first = train("classifier", start, recipe, splits, tmp_path / "a")
    assert models.load(first.best).compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    # The next stage takes the classifier over into its own precision.
    second = dataclasses.replace(start, model=lambda: models.load(first.best))
    recipe = recipe_of("fcam", "cub", [*FAST, "epochs=0"])
    run = train("fcam", second, recipe, splits, tmp_path / "b")
    assert models.load(run.best).compute_dtype == "float32"


def test_the_same_seed_gives_the_same_start(root, tmp_path):
    recipe = recipe_of("fcam", "cub", [*FAST, "epochs=0"])
    splits, _ = load_splits("fcam", root, recipe, pytest.fail)
    found = []
    for folder in ("a", "b"):
        run = train("fcam", Start(tiny), recipe, splits, tmp_path / folder)
        found.append(models.load(run.best).get_layer("decoder_head").get_weights()[0])
    assert (found[0] == found[1]).all()


def test_settings_of_a_baseline_are_used_or_refused(tiny_backbone, root, tmp_path):
    recipe = recipe_of("classifier", "cub", [*FAST, "epochs=0", "baseline.drop_rate=0.2"])
    splits, _ = load_splits("classifier", root, recipe, pytest.fail)
    start = Start(tiny_backbone, "has", weights="none")
    run = train("classifier", start, recipe, splits, tmp_path / "a")
    assert models.load(run.best).baseline == baselines.HaS(drop_rate=0.2)
    for other, message in (
        (dataclasses.replace(start, method=None), "`method` is cam"),
        (Start(tiny, "has"), "needs a classifier that was built for them"),
    ):
        with pytest.raises(ValueError, match=message):
            train("classifier", other, recipe, splits, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("stage", ["classifier", "fsl"])
def test_initial_weights_that_were_replaced_since_are_refused(tiny_backbone, root, tmp_path, stage):
    settings = ["loss.masks=1"] if stage == "fsl" else []
    recipe = recipe_of(stage, "cub", [*FAST, "epochs=0", *settings])
    splits = [load_split(root, "val", recipe, pytest.fail)] * 2  # which has masks
    file = str(tmp_path / "own.weights.h5")
    models.Classifier(tiny_backbone, 5, weights=None).save_weights(file)
    named = weights_identity(file)
    start = Start(tiny_backbone, weights=file, weights_identity=named)
    train(stage, start, recipe, splits, tmp_path / "a")
    models.Classifier(tiny_backbone, 5, weights=None).save_weights(file)
    with pytest.raises(ValueError, match=r"`weights` .*own\.weights\.h5 was replaced meanwhile"):
        train(stage, start, recipe, splits, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_full_supervision_needs_masks():
    with pytest.raises(ValueError, match=r"`loss.masks` must be above 0.*recipe cub with loss="):
        recipe_of("fsl", "cub", ["loss.masks=0"])


def test_nothing_to_choose_or_to_test_by(root, tmp_path):
    told = []
    recipe = recipe_of("classifier", "cub", [*FAST, "epochs=0"])
    plain = str(write_plain(tmp_path))
    (train_images, none), _ = load_splits("classifier", plain, recipe, told.append)
    assert (len(train_images), none) == (2, None)  # too few to hold one out
    assert told[1:] == ["there is no val split: the last epoch will be kept, not the best"]
    splits, same = load_splits("classifier", root, recipe, pytest.fail)
    assert same == recipe
    run = train("classifier", Start(tiny), recipe, splits, tmp_path / "run")
    assert report(run, str(tmp_path / "plain"), Console()) is None
    page = report(run, root, Console(quiet=True))
    assert page.is_file()


def write_plain(folder, *names, count=1):
    from PIL import Image  # noqa: PLC0415

    for name in names or ("a", "b"):
        (folder / "plain" / "train" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (48, 48)).save(folder / "plain" / "train" / name / f"{i}.png")
    return folder / "plain"


def test_accuracy_chooses_where_there_are_no_boxes(tmp_path):
    plain, told = write_plain(tmp_path, count=8), []
    recipe = recipe_of("classifier", "cub", ["select=PxAP", "val_fraction=0.3"])
    (images, validation), chosen = load_splits("classifier", str(plain), recipe, told.append)
    assert (chosen.select, len(images) + len(validation)) == ("accuracy", 16)
    assert len(validation) > 0
    assert "val_fraction=0.3" in told[0]
    assert told[1] == "no boxes or masks for val: the epoch of the best accuracy will be kept"
    (_, none), same = load_splits("fcam", str(plain), recipe_of("fcam", "cub"), told.append)
    assert (none, same.select) == (None, "MaxBoxAcc")
    assert told[-1] == "no boxes or masks for val: the last epoch will be kept, not the best"


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    plain = write_plain(tmp_path, "a", count=3)
    recipe = recipe_of("classifier", "cub")
    with pytest.raises(ValueError, match="has one class, 'a', and a classifier learns to tell"):
        load_splits("classifier", str(plain), recipe, [].append)
    assert load_splits("fcam", str(plain), recipe_of("fcam", "cub"), [].append)[0][0].ids


def test_a_decoder_needs_a_trained_classifier(root, tmp_path):
    recipe = recipe_of("fcam", "cub", FAST)
    splits, _ = load_splits("fcam", root, recipe, pytest.fail)
    with pytest.raises(ValueError, match=r"`model` must load a trained .*'resnet50'"):
        train("fcam", Start("resnet50"), recipe, splits, tmp_path / "run")
    with pytest.raises(ValueError, match=r"`stage` is unknown: 'fcan'\. Did you mean 'fcam'"):
        recipe_of("fcan", "cub")


def test_less_to_train_on_and_to_choose_by(tmp_path):
    root = write_shapes(tmp_path / "shapes", {"train": 5, "val": 10}, 48)
    ids = (root / "metadata/train/image_ids.txt").read_text().split()
    kept = ids[1:4]
    (root / "metadata/train/image_ids_proxy.txt").write_text("\n".join(kept))
    recipe = recipe_of("classifier", "cub", ["proxy=true", "val_per_class=1"])
    (images, validation), _ = load_splits("classifier", str(root), recipe, pytest.fail)
    assert images.ids == tuple(kept)
    assert validation.labels.tolist() == [0, 1, 2, 3, 4]
    (root / "metadata/train/image_ids_proxy.txt").write_text(kept[0])
    with pytest.raises(ValueError, match=r"has one class, '[a-z]+', and"):
        load_splits("classifier", str(root), recipe, pytest.fail)
    recipe = recipe_of("classifier", "cub")
    (images, validation), _ = load_splits("classifier", str(root), recipe, pytest.fail)
    assert (len(images), len(validation)) == (5, 10)


def test_a_training_finds_maps_that_its_teacher_stored(root, tmp_path, monkeypatch):
    sets = ("cams=stored", "stored_flip=true", "stored_scales=1,1.5", "stored_refine=crf")
    recipe = recipe_of("fcam", "cub", [*FAST, "epochs=0", *sets])
    start = Start(save_tiny(tmp_path), "layercam", cams=tmp_path / "maps")
    images = load_split(root, "train", recipe, pytest.fail)
    teacher, asked = teacher_of(start, recipe, images)
    store(teacher, asked, tmp_path / "maps", verbose=0)
    before = (tmp_path / "maps/cams.npy").read_bytes()

    monkeypatch.setattr(cam_store.Teacher, "batches", pytest.fail)
    splits, _ = load_splits("fcam", root, recipe, pytest.fail)
    run = train("fcam", start, recipe, splits, tmp_path / "run")
    assert run.finished
    assert not (tmp_path / "run/cams").exists()
    assert (tmp_path / "maps/cams.npy").read_bytes() == before


def test_what_stored_maps_depend_on_is_listed(root):
    """All that is read of a recipe on the way to stored maps."""
    read = set()

    class Noting(FCAMRecipe):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    recipe = Noting(cams="stored", crop=32, resize=36)
    read.clear()
    images = load_split(root, "train", recipe, pytest.fail)
    teacher_of(Start(tiny), recipe, images)
    # The last is what is drawn: the decoder, and no part of a classifier that is loaded.
    decoder = {"filters", "decoder", "decoder_filters", "seed"}
    assert read - {"__class__"} - decoder == {"cams", *STORED_BY}


def test_maps_that_a_recipe_does_not_store(root):
    recipe = recipe_of("fcam", "cub", FAST)
    images = load_split(root, "train", recipe, pytest.fail)
    with pytest.raises(ValueError, match=r"`cams` must be 'stored'.*Received: 'online'\."):
        teacher_of(Start(tiny), recipe, images)

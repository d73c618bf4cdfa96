import keras
import numpy as np
import pytest

from fcam_tf import cams
from fcam_tf.evaluation import Center, Evaluation, EvaluationSettings, ModelMaps, StoredMaps
from fcam_tf.evaluation.sources import check_scaling
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier

IDS = ("a/one.jpg", "two.png")


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


@pytest.fixture
def classifier():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(4, 3, 2, activation="relu", name="conv2d"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )


@pytest.fixture
def with_decoder():
    return FCAM.from_classifier(tiny_classifier(), decoder_filters=(4, 4, 4))


def store(folder, name, array):
    file = folder / f"{name}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array)


class TestModels:
    def test_a_cam_of_true_and_predicted_classes(self, classifier, images):
        source = ModelMaps(classifier, "cam")
        assert (source.image_size, source.num_classes) == ((32, 32), 3)
        maps, logits = source(IDS, images, np.array([0, 2]))
        np.testing.assert_allclose(logits, classifier.predict_on_batch(images), rtol=1e-4)
        assert maps.shape == (2, 15, 15)
        predicted, _ = source(IDS, images, None)
        same, _ = source(IDS, images, logits.argmax(1))
        np.testing.assert_array_equal(predicted, same)

    def test_a_decoder_s_own_maps(self, with_decoder, images):
        source = ModelMaps(with_decoder, "fcam")
        assert (source.image_size, source.num_classes) == ((224, 224), 3)
        maps, logits = source(IDS, images, None)
        fcam = with_decoder.predict_on_batch(images)["fcam"]
        want = 1 / (1 + np.exp(fcam[..., 0] - fcam[..., 1]))
        np.testing.assert_allclose(maps, want, rtol=1e-5)
        assert logits.shape == (2, 3)

    def test_options_of_the_method(self, classifier, with_decoder, images):
        source = ModelMaps(classifier, "cam", flip=True)
        assert (source.options, source.told) == ({"flip": True}, "cam at conv2d, flip")
        maps, _ = source(IDS, images, None)
        want = cams.get("cam", classifier, flip=True)(images)
        np.testing.assert_allclose(maps, want, atol=1e-6)
        maps, _ = ModelMaps(with_decoder, flip=True)(IDS, images, None)
        want = with_decoder.localize(images, flip=True).heatmaps
        np.testing.assert_allclose(maps, want, atol=1e-6)

    def test_the_method_must_fit_the_model(self, classifier):
        with pytest.raises(ValueError, match="needs an F-CAM, and this is a classifier"):
            ModelMaps(classifier, "fcam")


class TestCenter:
    def test_level_sets_are_circles_around_pixel_112(self):
        maps, logits = Center()(IDS, None, None)
        assert maps.shape == (2, 224, 224)
        assert logits is None
        assert (maps.min(), maps.max(), maps[0, 112, 112]) == (0, 1, 1)
        assert maps[0, 112, 100] == maps[0, 100, 112] == maps[0, 112, 124]
        # 112**2 * 2 is the largest squared distance, at pixel (0, 0).
        assert maps[1, 112, 0] == 0.5

    def test_published_figure_of_cub(self, metadata, tmp_path):
        root = tmp_path / "CUB"
        root.mkdir()
        (root / "metadata").symlink_to(metadata / "CUB")
        settings = EvaluationSettings(method="center", data=str(root), split="test")
        run = Evaluation(Center(), settings, tmp_path / "out").run()
        assert run.metrics["MaxBoxAcc"] == pytest.approx(59.7169, abs=1e-4)
        assert run.metrics["MaxBoxAccV2"] == pytest.approx(56.967, abs=1e-3)


class TestStoredMaps:
    @pytest.mark.parametrize("name", ["a/one.jpg", "a/one", "a_one.jpg", "a_one"])
    def test_names_in_the_wild(self, tmp_path, name):
        array = np.random.default_rng(0).random((224, 224))
        store(tmp_path, name, array)
        maps, logits = StoredMaps(tmp_path, IDS[:1])(IDS[:1], None, None)
        np.testing.assert_array_equal(maps[0], array)
        assert logits is None

    def test_a_map_that_claims_more_than_there_is_memory(self, tmp_path):
        store(tmp_path, "two", np.zeros((4, 4)))
        file = tmp_path / "two.npy"
        claims = file.read_bytes().replace(b"(4, 4), }" + b" " * 16, b"(4, 4" + b"0" * 16 + b"), }")
        file.write_bytes(claims)
        with pytest.raises(ValueError, match=r"two\.npy, cannot be read: Unable to allocate"):
            StoredMaps(tmp_path, IDS[1:2])(IDS[1:2], None, None)

    def test_the_file_of_each_map(self, tmp_path):
        for name in ("a/one", "two"):
            store(tmp_path, name, np.zeros((224, 224)))
        found = StoredMaps(tmp_path, IDS).files(IDS[::-1])
        assert found == [tmp_path / "two.npy", tmp_path / "a" / "one.npy"]

    def test_missing_ones_are_told_at_once(self, tmp_path):
        store(tmp_path, "two", np.zeros((224, 224)))
        with pytest.raises(FileNotFoundError, match=r"1 of 2 images: a/one\.jpg\. The first would"):
            StoredMaps(tmp_path, IDS)
        with pytest.raises(FileNotFoundError, match="is not a folder"):
            StoredMaps(tmp_path / "nowhere", IDS)

    def test_two_images_cannot_share_a_file(self, tmp_path):
        store(tmp_path, "a_b", np.zeros((224, 224)))
        with pytest.raises(ValueError, match=r"the map of a/b\.jpg and of a_b\.png"):
            StoredMaps(tmp_path, ["a/b.jpg", "a_b.png"])

    def test_an_image_cannot_have_two_files(self, tmp_path):
        for name in ("a/b.jpg", "a_b"):
            store(tmp_path, name, np.zeros((224, 224)))
        with pytest.raises(
            ValueError, match=r"a_b\.npy and .*b\.jpg\.npy would both be the map of a"
        ):
            StoredMaps(tmp_path, ["a/b.jpg"])
        # A second name of one image may be that of another.
        assert len(StoredMaps(tmp_path, ["a/b.jpg", "a_b.png"]).files(["a_b.png"])) == 1

    def test_wrong_shapes_and_broken_files_name_the_image(self, tmp_path):
        store(tmp_path, "a/one", np.zeros((7, 7)))
        (tmp_path / "two.npy").write_bytes(b"nothing")
        source = StoredMaps(tmp_path, IDS)
        with pytest.raises(ValueError, match=r"map of a/one\.jpg.*shape \(7, 7\).*\(224, 224\)"):
            source(IDS[:1], None, None)
        with pytest.raises(ValueError, match=r"map of two\.png.*cannot be read"):
            source(IDS[1:], None, None)


def test_only_coarse_maps_are_scaled_in_another_way(classifier, with_decoder):
    for source in (ModelMaps(classifier, "cam"), ModelMaps(with_decoder, "cam")):
        check_scaling(source, "bicubic")
    fine = (
        ModelMaps(with_decoder),
        ModelMaps(classifier, "cam", refine="crf"),
        Center(),
        StoredMaps(".", []),
    )
    for source in fine:
        check_scaling(source, "bilinear")
        with pytest.raises(ValueError, match="`scaling` must be 'bilinear' for maps that are not"):
            check_scaling(source, "bicubic")
    with pytest.raises(ValueError, match="`scaling`"):
        check_scaling(Center(), "cubic")

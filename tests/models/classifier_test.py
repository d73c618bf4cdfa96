import functools
import json

import keras
import numpy as np
import pytest

from fcam_tf import baselines, cams
from fcam_tf.models import Classifier
from tests.backends import baseline_steps, output_under, under_others
from tests.children import Child

NAME = "mobilenet_v3_large"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 64, 64, 3)).astype("uint8")
LABELS = np.array([0, 1, 2, 0])

unfitted = pytest.mark.filterwarnings(
    # Keras builds the optimizer when it loads a model that was saved before any fit.
    "ignore:Skipping variable loading for optimizer:UserWarning"
)


def fit(model):
    model.jit_compile = False  # XLA takes longer than these few steps
    model.fit(IMAGES, LABELS, epochs=2, batch_size=2, verbose=0)


@pytest.fixture(scope="module")
def model():
    return Classifier(NAME, 3, weights=None)


def test_one_flat_graph(model):
    assert isinstance(model, keras.Model)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert list(model.feature_maps) == ["P1", "P2", "P3", "P4", "P5"]
    assert model.output_stride == 16
    assert model.input_size == 224
    assert model.class_names is None


def test_logits_are_pooling_and_a_linear_head(model):
    top = keras.Model(model.input, model.feature_maps["P5"])(IMAGES).numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(model(IMAGES), top.mean((1, 2)) @ kernel + bias, atol=1e-5)


def test_uint8_and_float_images_are_equal(model):
    np.testing.assert_array_equal(model(IMAGES), model(IMAGES.astype("float32")))
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0), model.predict(IMAGES.astype("float64"), verbose=0)
    )


def test_numpy_numbers(tiny_backbone):
    model = Classifier(tiny_backbone, np.int64(3), weights=None, output_stride=np.int64(8))
    assert model.output_shape == (None, 3)
    assert Classifier.from_config(model.get_config()).output_stride == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet5"}, r"Did you mean 'resnet50'"),
        ({"output_stride": 4}, r"`output_stride` must be 8, 16 or 32. Received: 4"),
        ({"num_classes": 0}, r"`num_classes` must be a positive integer. Received: 0"),
        ({"num_classes": 2.0}, r"Received: 2.0"),
        ({"num_classes": None}, r"Received: None.*'mobilenet_v3_large' with weights=None has none"),
        ({"class_names": ["a", "b"]}, r"each of the 3 classes. Received: 2 names"),
    ],
)
def test_errors(options, message):
    arguments = {"backbone": NAME, "num_classes": 3, "weights": None} | options
    with pytest.raises(ValueError, match=message):
        Classifier(**arguments)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="head"):
        Classifier(NAME, 3, weights=None, head="linear")


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@unfitted
@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision(tiny_backbone, tmp_path):
    model = Classifier(tiny_backbone, 3, weights=None)
    assert model.get_layer("conv1").compute_dtype == "float16"
    assert model.get_layer("conv1").variable_dtype == "float32"
    assert model(IMAGES).dtype == "float32"
    np.testing.assert_array_equal(model(IMAGES), model(IMAGES.astype("float32")))
    for name in ("cam", "layercam"):
        assert cams.get(name, model)(IMAGES).dtype == "float32"
    fit(model)
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("conv1").compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_dtype_leaves_the_global_policy_alone(tiny_backbone):
    model = Classifier(tiny_backbone, 3, weights=None, dtype="mixed_float16")
    assert model.get_layer("conv1").compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(ValueError, match="nonsense"):
        Classifier(tiny_backbone, 3, weights=None, dtype="nonsense")
    assert keras.config.dtype_policy().name == "float32"


@pytest.fixture(scope="module")
def fitted(tiny_backbone):
    """Fit two kinds of image: bright on the left or on the right of grey noise."""
    keras.utils.set_random_seed(0)
    labels = np.arange(16) % 2
    images = RNG.uniform(100, 150, (16, 64, 64, 3)).astype("float32")
    images[labels == 0, :, :32] = (250, 30, 30)
    images[labels == 1, :, 32:] = (30, 30, 250)
    model = Classifier(tiny_backbone, 3, weights=None)
    model.jit_compile = False
    return model, model.fit(images, labels, batch_size=8, epochs=6, verbose=0).history


@pytest.mark.traced
def test_fit_learns(fitted):
    _, history = fitted
    assert history["loss"][-1] < 0.3 < history["loss"][0]
    assert history["accuracy"][-1] > 0.9


def state(model):
    return {v.path: v.numpy() for v in model.weights}


def changed(model, before):
    return {v.path for v in model.weights if not np.array_equal(v.numpy(), before[v.path])}


@pytest.mark.traced
def test_freeze_keeps_weights_and_statistics(fitted):
    trained, _ = fitted
    model = trained.copy()  # the next test may want the first as it is
    model.freeze(head=False)
    before = state(model)
    fit(model)  # without compiling again
    assert changed(model, before) == {"logits/kernel", "logits/bias"}
    assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]

    model.unfreeze()
    model.compile(optimizer="sgd", loss=model.loss)
    before = state(model)
    fit(model)
    batch_statistics = {path for path in before if "moving" in path}
    assert batch_statistics < changed(model, before)
    assert {"conv1/kernel", "conv5/kernel", "logits/kernel"} < changed(model, before)


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_freeze_all(tiny_backbone):
    model = Classifier(tiny_backbone, 3, weights=None)
    model.freeze()
    before = state(model)
    fit(model)
    assert changed(model, before) == set()
    assert model.trainable_variables == []
    np.testing.assert_array_equal(model(IMAGES, training=True), model(IMAGES))


def test_unfreeze():
    model = Classifier(NAME, 3, weights=None)
    count = len(model.trainable_variables)
    model.freeze()
    model.unfreeze()
    assert len(model.trainable_variables) == count > 100


def test_dropout_of_a_frozen_inceptionv3_is_off():
    model = Classifier("inceptionv3", 3, weights=None)
    assert np.any(model(IMAGES[:1], training=True).numpy() != model(IMAGES[:1]).numpy())
    model.freeze()
    np.testing.assert_array_equal(model(IMAGES[:1], training=True), model(IMAGES[:1]))


COPIES = {
    "clone_model": lambda model, _: keras.models.clone_model(model),
    "copy": lambda model, _: model.copy(),
    "from_config": lambda model, _: Classifier.from_config(model.get_config()),
    "load_model": lambda _, path: keras.models.load_model(path),
}


@pytest.fixture(scope="module")
def frozen(tiny_backbone, tmp_path_factory):
    """Return classifiers with the trunk or all frozen, and the files they were saved to."""

    def make(head):
        names = ["cat", "dog", "bird"]
        model = Classifier(tiny_backbone, 3, weights=None, class_names=names)
        model.freeze(head=head)
        path = tmp_path_factory.mktemp("frozen") / "model.keras"
        model.save(path)
        return model, path

    return {head: make(head) for head in (True, False)}


@unfitted
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("way", COPIES)
def test_freezing_survives(frozen, head, way):
    model, path = frozen[head]
    copy = COPIES[way](model, path)
    trainable = [v.path for v in copy.trainable_variables]
    assert trainable == ([] if head else ["logits/kernel", "logits/bias"])
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy(IMAGES, training=True), model(IMAGES), atol=1e-6)
    if way != "clone_model":  # which gives a plain functional model
        assert isinstance(copy, Classifier)
        assert copy.class_names == ("cat", "dog", "bird")
        assert copy.get_config() == model.get_config()
        assert list(copy.feature_maps) == list(model.feature_maps)


@unfitted
def test_loads_the_weights_too(frozen):
    model, path = frozen[False]
    np.testing.assert_array_equal(keras.models.load_model(path)(IMAGES), model(IMAGES))


@pytest.mark.slow
def test_loads_in_a_fresh_process(model, tmp_path):
    model.freeze(head=False)
    model.save(path := tmp_path / "model.keras")
    model.unfreeze()
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import sys, keras, numpy as np, fcam_tf.models;"
        "model = keras.models.load_model(sys.argv[1]);"
        "print([v.path for v in model.trainable_variables]);"
        "np.save(sys.argv[2] + '/out.npy', model(np.load(sys.argv[2] + '/images.npy')))"
    )
    told, error = Child(code, [path, tmp_path]).communicate()
    assert told.strip() == "['logits/kernel', 'logits/bias']", error
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(IMAGES), atol=1e-6)


@unfitted
def test_goes_on_training_after_loading(tiny_backbone, tmp_path):
    model = Classifier(tiny_backbone, 3, weights=None)
    model.freeze(head=False)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = state(loaded)
    assert loaded.optimizer.iterations == model.optimizer.iterations
    fit(loaded)
    assert changed(loaded, before) == {"logits/bias", "logits/kernel"}


def cross_entropy(logits, labels):
    logits = np.asarray(logits, np.float64)
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]


def test_mixed_labels_share_the_loss(tiny_backbone):
    model = Classifier(tiny_backbone, 3, weights=None, baseline="cutmix")
    model.freeze(head=False)  # as at inference: no statistics of the batch
    logits = model.predict(IMAGES, verbose=0)
    other, fraction = np.array([2, 1, 0, 0]), np.array([0.75] * 4, np.float32)
    mixed = {"label": LABELS, "other": other, "fraction": fraction}
    expected = 0.75 * cross_entropy(logits, LABELS) + 0.25 * cross_entropy(logits, other)
    found = model.train_on_batch(IMAGES.astype("float32"), mixed, return_dict=True)
    np.testing.assert_allclose(found["loss"], expected.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["accuracy"], (logits.argmax(-1) == LABELS).mean())
    weights = np.array([1.0, 0.0, 2.0, 1.0], np.float32)
    for given in (weights, weights[:, None]):
        found = model.compute_loss(IMAGES, mixed, logits, given)
        np.testing.assert_allclose(found, (weights * expected).mean(), rtol=1e-4)


def test_mixed_labels_count_what_layers_add_once(tiny_backbone):
    model = Classifier(tiny_backbone, 3, weights=None, baseline="cutmix")
    model.get_layer("logits").kernel.regularizer = keras.regularizers.L2(0.5)
    added = 0.5 * np.sum(np.square(model.get_layer("logits").kernel))
    logits, other = model.predict(IMAGES, verbose=0), np.array([2, 1, 0, 0])
    fraction = np.array([0.75] * 4, np.float32)
    mixed = {"label": LABELS, "other": other, "fraction": fraction}
    expected = 0.75 * cross_entropy(logits, LABELS) + 0.25 * cross_entropy(logits, other)
    found = model.compute_loss(IMAGES, mixed, logits)
    np.testing.assert_allclose(found, expected.mean() + added, rtol=1e-5)
    plain = model.compute_loss(IMAGES, LABELS, logits)
    np.testing.assert_allclose(plain, cross_entropy(logits, LABELS).mean() + added, rtol=1e-5)


def test_a_head_adds_its_loss_in_training_only(tiny_backbone):
    model = Classifier(tiny_backbone, 3, weights=None, baseline="acol")
    outputs = model(IMAGES, training=True)
    logits, maps = outputs["outputs"][0], outputs["maps"]
    extra = model.get_layer("logits").losses_of(maps, outputs["outputs"][1:], LABELS)
    extra = np.asarray(extra)
    plain = cross_entropy(logits, LABELS)
    np.testing.assert_allclose(
        model.compute_loss(IMAGES, LABELS, outputs), (plain + extra).mean(), rtol=1e-4
    )
    weights = np.array([1.0, 0.0, 2.0, 1.0], np.float32)
    np.testing.assert_allclose(
        model.compute_loss(IMAGES, LABELS, outputs, weights),
        (weights * (plain + extra)).mean(),
        rtol=1e-4,
    )
    logits = model.predict(IMAGES, verbose=0)
    found = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], cross_entropy(logits, LABELS).mean(), rtol=1e-4)


UNDER = """
import json, sys
import keras, numpy as np
from fcam_tf.models import BACKBONES, Classifier
from tests.backends import baseline_steps
from tests.models.tiny import tiny_spec

BACKBONES["tiny"] = tiny_spec()
for name in sys.argv[2:]:
    np.savez(f"{sys.argv[1]}/{name}.npz", **baseline_steps(name))

images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
losses = {}
for name in ("spg", "icl"):  # a head, and layers in between
    keras.utils.set_random_seed(0)
    model = Classifier("tiny", 2, weights=None, baseline=name)
    history = model.fit(images, np.array([0, 1, 0, 1]), verbose=0).history
    losses[name] = history["loss"]
print(json.dumps({"backend": keras.backend.backend(), "losses": losses}))
"""


@pytest.fixture(scope="module")
def under(tmp_path_factory):
    """Return a function that trains so under a backend once: what it prints, and its files."""

    @functools.cache
    def run(backend):
        folder = tmp_path_factory.mktemp(backend)
        output = output_under(backend, UNDER, folder, *baselines.METHODS)
        return json.loads(output.splitlines()[-1]), folder

    return run


@pytest.mark.slow
@under_others
def test_baselines_train_under_other_backends(under, backend):
    found, _ = under(backend)
    assert found["backend"] == backend
    assert all(np.isfinite(values).all() for values in found["losses"].values())


@pytest.mark.slow
@under_others
def test_baselines_train_the_same_under_each_backend(tiny_backbone, under, backend):
    assert tiny_backbone == "tiny"
    _, folder = under(backend)
    for method in baselines.METHODS:
        wanted = baseline_steps(method)
        with np.load(folder / f"{method}.npz") as found:
            assert set(found) == set(wanted)
            for name in wanted:
                where = f"{method}: {name}"
                np.testing.assert_allclose(found[name], wanted[name], 1e-4, 1e-5, err_msg=where)

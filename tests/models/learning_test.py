"""F-CAM in training: what teaches its decoder, and what its loss and epochs add up to."""

import copy
import functools
import json

import keras
import numpy as np
import pytest
from packaging.version import Version

from fcam_tf.losses import IGNORED, FCAMLoss, sample_seeds
from fcam_tf.models import FCAM
from tests.backends import fcam_steps, output_under, under_others
from tests.models.tiny import photos, tiny_classifier

IMAGES = photos()
LABELS = np.array([0, 1, 2, 0])


def compiled(model, *, eagerly=False, **loss):
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer=optimizer, loss=FCAMLoss(**loss), run_eagerly=eagerly)
    return model


def weights(model):
    return [w.numpy().copy() for w in model.classifier.weights]


def test_the_classifier_is_copied_and_stays_as_it_is(classifier):
    before = [w.numpy().copy() for w in classifier.weights]
    model = compiled(FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4)), size=1.0)
    maps = model(IMAGES)["fcam"].numpy()
    model.fit(IMAGES, LABELS, epochs=2, batch_size=2, verbose=0)
    assert np.abs(model(IMAGES)["fcam"] - maps).max() > 1e-3
    for ours, theirs, old in zip(weights(model), classifier.weights, before, strict=True):
        np.testing.assert_array_equal(ours, old)
        np.testing.assert_array_equal(theirs, old)
    assert classifier.trainable


def test_training_sees_the_classifier_in_inference_mode(model):
    training = model(IMAGES, training=True)
    np.testing.assert_array_equal(training["logits"], model(IMAGES)["logits"])
    assert np.abs(training["fcam"] - model(IMAGES)["fcam"]).max() > 1e-3  # the decoder's batches


def test_unfreezing_trains_the_classifier_on_labels(classifier):
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4))
    model.unfreeze()
    compiled(model, crf=0, size=0)
    before = weights(model)
    logs = model.fit(IMAGES, LABELS, batch_size=4, verbose=0).history
    assert set(logs) == {"loss", "seeds_loss", "classification_loss"}
    assert any((a != b).any() for a, b in zip(before, weights(model), strict=True))
    model.freeze()
    before = weights(model)
    compiled(model, crf=0, size=0)
    logs = model.fit(IMAGES, LABELS, batch_size=4, verbose=0).history
    assert set(logs) == {"loss", "seeds_loss"}
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_heads_that_are_not_linear_train_by_gradients():
    classifier = tiny_classifier(size=32, pooling=False)
    model = compiled(FCAM.from_classifier(classifier, method="gradcam", decoder_filters=(8, 6, 4)))
    logs = model.fit(IMAGES, LABELS, batch_size=2, verbose=0).history
    assert np.isfinite(logs["seeds_loss"]).all()


@pytest.mark.traced
def test_stored_maps_teach(model):
    compiled(model, crf=0, size=0)
    cams_ = np.zeros((4, 8, 8), np.float32)
    cams_[:, :4, :4] = 1
    for _ in range(40):
        model.train_on_batch(IMAGES, {"label": LABELS, "cam": cams_})
    maps, _ = model.maps_and_logits(IMAGES)
    assert maps[:, 2:14, 2:14].mean() > maps[:, 18:, 18:].mean() + 0.2


def test_no_seed_in_a_batch_costs_nothing(model):
    compiled(model, crf=0, size=0)
    constant = {"label": LABELS, "cam": np.full((4, 8, 8), 0.5, np.float32)}
    assert float(model.train_on_batch(IMAGES, constant, return_dict=True)["loss"]) == 0
    assert (np.asarray(sample_seeds(constant["cam"], 0)) == IGNORED).all()


def test_the_total_is_the_sum_of_its_terms(model):
    compiled(model, crf=1e-5, size=0.3, entropy=0.2)
    logs = model.fit(IMAGES, LABELS, batch_size=4, verbose=0).history
    terms = {"seeds_loss", "crf_loss", "size_loss", "entropy_loss"}
    assert set(logs) == {"loss", *terms}
    np.testing.assert_allclose(logs["loss"], sum(logs[name][0] for name in terms), rtol=1e-5)


def test_terms_add_up_when_the_last_batch_is_short(model):
    compiled(model, crf=1e-5, size=0.3)
    logs = model.fit(IMAGES, LABELS, batch_size=3, verbose=0).history
    terms = ("seeds_loss", "crf_loss", "size_loss")
    np.testing.assert_allclose(logs["loss"], sum(logs[name][0] for name in terms), rtol=1e-5)


def test_predicted_classes_do_not_train_the_head(model):
    model.unfreeze()
    compiled(model, crf=0, size=1e-3, seeds=0)

    def loss(labels):
        model.reset_metrics()  # as Keras's test_on_batch does since 3.15
        logs = model.test_on_batch(IMAGES, labels, return_dict=True)
        return logs["classification_loss"]

    known = np.array([0, 1])
    expected = keras.losses.sparse_categorical_crossentropy(
        known, model(IMAGES)["logits"][:2], from_logits=True
    )
    found = loss(np.array([*known, -1, -1]))
    np.testing.assert_allclose(found, np.sum(expected) / 4, rtol=1e-5)
    assert loss(np.full(4, -1)) == 0
    before = model.get_layer("logits").get_weights()[0]
    assert np.isfinite(model.fit(IMAGES, np.full(4, -1), verbose=0).history["loss"]).all()
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], before)


def test_labels_and_maps_may_come_as_columns(model):
    compiled(model, crf=0, size=0, masks=1.0)
    planes = np.arange(4 * 64, dtype="float32").reshape(4, 8, 8) % 64 / 64
    masks = np.zeros((4, 32, 32), np.uint8)
    flat = {"label": LABELS, "cam": planes, "mask": masks}
    columns = {"label": LABELS[:, None], "cam": planes[..., None], "mask": masks[..., None]}
    state = np.array(model.draws.state)
    losses = []
    for targets in (flat, columns):
        model.draws.state.assign(state)
        losses.append(model.test_on_batch(IMAGES, targets))
    np.testing.assert_array_equal(*losses)


@pytest.mark.slow
@pytest.mark.traced
def test_graph_and_eager_steps_agree(classifier):
    found = []
    for eagerly in (True, False):
        keras.utils.set_random_seed(1)
        model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), seed=3)
        compiled(model, eagerly=eagerly)
        found.append(model.fit(IMAGES, LABELS, epochs=2, batch_size=2, shuffle=False, verbose=0))
    a, b = (np.asarray(run.history["loss"]) for run in found)
    np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("copies", [{}, {"scales": (1, 2), "flip": True}])
def test_saved_models_go_on_as_they_were(classifier, tmp_path, copies):
    keras.utils.set_random_seed(1)
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), seed=3, **copies)
    compiled(model, crf=3e-9, windows={"size": (2, None)})
    model.fit(IMAGES, LABELS, batch_size=2, verbose=0)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(model(IMAGES)["fcam"], loaded(IMAGES)["fcam"])
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.teacher.averages == bool(copies)
    assert [w.path for w in loaded.trainable_variables] == [
        w.path for w in model.trainable_variables
    ]
    more = {"batch_size": 2, "initial_epoch": 1, "epochs": 2, "shuffle": False, "verbose": 0}
    logs = [m.fit(IMAGES, LABELS, **more).history["loss"] for m in (model, loaded)]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-6)


def test_fit_counts_its_epochs(model):
    compiled(model, crf=0, windows={"size": (2, 2)})
    data, seen = {"x": IMAGES, "y": LABELS, "batch_size": 2, "verbose": 0}, []
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: seen.append(int(model.epoch.result()))
    )

    def on(**given):
        return [value != 0 for value in model.fit(**data, **given).history["size_loss"]]

    assert on(epochs=3) == [False, True, False]
    assert on(initial_epoch=1, epochs=2) == [True]
    assert model.evaluate(**data, return_dict=True)["size_loss"] != 0  # of the last epoch
    with pytest.warns(UserWarning, match="`initial_epoch` to go on"):
        assert on(epochs=2, callbacks=look, validation_data=(IMAGES, LABELS)) == [False, True]
    assert seen == [1, 2]
    assert model.train_on_batch(IMAGES, LABELS, return_dict=True)["size_loss"] != 0
    listed = keras.callbacks.CallbackList([look], model=model)
    compiled(model, crf=0, windows={"size": (2, 2)})  # a new beginning
    model.fit(**data, callbacks=listed)
    assert seen == [1, 2, 1]


def regular(activity=0.0):
    """A classifier whose layers add to the loss, at weights of which the sum is known."""
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1.0)(images)
    for i in range(2):
        x = keras.layers.Conv2D(
            4,
            3,
            2,
            padding="same",
            kernel_initializer=keras.initializers.Constant(0.5),
            kernel_regularizer=keras.regularizers.L2(0.1),
            activity_regularizer=keras.regularizers.L2(activity) if activity else None,
            name=f"conv{i}",
        )(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3)(x))


def test_regularisers_of_layers_that_train_count():
    model = FCAM.from_classifier(regular(), decoder_filters=())
    compiled(model, seeds=0, crf=0, size=0, entropy=1.0, classification=0)
    frozen = model.test_on_batch(IMAGES, LABELS, return_dict=True)
    assert set(frozen) == {"loss", "entropy_loss"}
    assert frozen["loss"] == pytest.approx(frozen["entropy_loss"])
    model.unfreeze()
    compiled(model, seeds=0, crf=0, size=0, entropy=1.0, classification=0)
    logs = model.test_on_batch(IMAGES, LABELS, return_dict=True)
    weights = 0.1 * 0.25 * (3 * 3 * 3 * 4 + 3 * 3 * 4 * 4)
    assert logs["regularization_loss"] == pytest.approx(weights)
    assert logs["loss"] == pytest.approx(frozen["entropy_loss"] + weights)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_regularisers_count_under_every_floatx(floatx, dtype):
    floatx(dtype)
    model = FCAM.from_classifier(regular(), decoder_filters=())
    model.unfreeze()
    compiled(model, crf=0, size=0)
    dark = IMAGES // 16  # float16 ends at 65504
    logs = model.train_on_batch(dark, LABELS, return_dict=True)
    weights = 0.1 * 0.25 * (3 * 3 * 3 * 4 + 3 * 3 * 4 * 4)
    assert np.isfinite(logs["loss"])
    assert logs["regularization_loss"] == pytest.approx(weights, rel=0.05)


@pytest.mark.parametrize("method", ["cam", "gradcam", "smoothgradcampp"])
def test_what_layers_add_counts_once_whatever_the_teacher_runs(method):
    model = compiled(FCAM.from_classifier(regular(1e-9), method=method), crf=0, size=0)
    maps = [
        keras.Model(model.inputs[0], model.get_layer(f"conv{i}").output)(IMAGES) for i in (0, 1)
    ]
    # Keras divides by the size of the batch since 3.14.
    batch = len(IMAGES) if Version(keras.__version__) >= Version("3.14") else 1
    expected = 1e-9 * sum(np.sum(np.square(m)) for m in maps) / batch
    logs = model.test_on_batch(IMAGES, LABELS, return_dict=True)
    assert logs["regularization_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["seeds_loss"] + expected, rel=1e-4)


def test_other_losses_are_refused(model):
    model.compile(loss="mse")
    with pytest.raises(TypeError, match="FCAMLoss"):
        model.fit(IMAGES, LABELS, verbose=0)


def test_noise_of_a_method_moves_on_and_is_saved(tmp_path):
    model = FCAM.from_classifier(tiny_classifier(), method="smoothgradcampp", seed=1)
    model.compile(keras.optimizers.SGD(0.01), FCAMLoss(crf=0, erosion=3))
    assert IMAGES.dtype == np.uint8
    model.fit(IMAGES, LABELS, batch_size=1, epochs=1, verbose=0)
    moved = np.asarray(model.noise.state)
    assert moved[1] == len(IMAGES)
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(again.noise.state, moved)


UNDER = """
import json, sys
import numpy as np, keras
from fcam_tf.losses import Batch, FCAMLoss
from fcam_tf.models import FCAM
from fcam_tf.optimizer import CoupledSGD
from tests.backends import fcam_steps
from tests.models.tiny import photos, tiny_classifier, with_a_layer_named

np.savez(sys.argv[1] + "/steps.npz", **fcam_steps())

keras.utils.set_random_seed(0)
model = FCAM.from_classifier(tiny_classifier(size=32), decoder_filters=(8, 6, 4))
loss = FCAMLoss(crf=1e-6, crf_method="exact", windows={"size": (2, None)}, erosion=3)
model.compile(CoupledSGD(0.05, l2=1e-4), loss)
images, labels = photos(8), np.arange(8) % 3
frozen = [np.asarray(w) for w in model.classifier.weights]
fitted = model.fit(
    images, labels, epochs=8, batch_size=4, verbose=0, shuffle=False
)
same = all((a == np.asarray(w)).all() for a, w in zip(frozen, model.classifier.weights))
model.save(sys.argv[1] + "/a.keras")
again = keras.saving.load_model(sys.argv[1] + "/a.keras")
try:
    FCAMLoss(seeds=0).terms(Batch(images, np.zeros((8, 32, 32, 2)), 1))
    refusal = ""
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "backend": keras.backend.backend(),
    "jit": model.jit_compile,
    "history": fitted.history,
    "frozen": bool(same),
    "saved": float(np.abs(model.localize(images).heatmaps - again.localize(images).heatmaps).max()),
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def under(tmp_path_factory):
    """Return a function that trains so under a backend once: what it prints, and its files."""

    @functools.cache
    def run(backend):
        folder = tmp_path_factory.mktemp(backend)
        return json.loads(output_under(backend, UNDER, folder).splitlines()[-1]), folder

    return run


@pytest.mark.slow
@under_others
def test_trains_under_other_backends(under, backend):
    found, _ = under(backend)
    history = found["history"]
    assert found["backend"] == backend
    assert found["jit"] == (backend == "jax")  # Keras compiles nothing for PyTorch by itself
    assert found["frozen"]
    assert found["saved"] == 0
    assert "FCAMLoss takes crf_method='exact'" in found["refusal"]
    assert [value != 0 for value in history["size_loss"]] == [False] + [True] * 7
    assert history["crf_loss"][0] > 0
    assert np.mean(history["seeds_loss"][-3:]) < history["seeds_loss"][0]


@pytest.mark.slow
@under_others
def test_steps_change_the_same_under_each_backend(under, backend):
    wanted = fcam_steps()
    with np.load(under(backend)[1] / "steps.npz") as found:
        assert set(found) == set(wanted)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], 1e-4, 1e-5, err_msg=name)
        assert found["losses"][1] < found["losses"][0]


def test_deep_copies_are_models_of_their_own_that_go_on_as_the_first(classifier):
    keras.utils.set_random_seed(1)
    model = FCAM.from_classifier(classifier, decoder_filters=(8, 6, 4), seed=3)
    model.unfreeze(head_only=True)
    compiled(model, crf=3e-9, windows={"size": (2, None)})
    model.fit(IMAGES, LABELS, batch_size=2, verbose=0)
    clone = copy.deepcopy(model)
    assert isinstance(clone, FCAM)
    assert clone.get_config() == model.get_config()
    assert clone.loss.get_config() == model.loss.get_config()
    outputs = np.asarray(model(IMAGES)["fcam"])
    more = {"batch_size": 2, "initial_epoch": 1, "epochs": 2, "shuffle": False, "verbose": 0}
    logs = clone.fit(IMAGES, LABELS, **more).history
    np.testing.assert_array_equal(model(IMAGES)["fcam"], outputs)
    same = model.fit(IMAGES, LABELS, **more).history
    np.testing.assert_allclose(logs["loss"], same["loss"], rtol=1e-6)


def test_masks_must_be_given_where_they_count(classifier):
    model = compiled(FCAM.from_classifier(classifier, decoder_filters=()), masks=1.0, seeds=0.0)
    with pytest.raises(ValueError, match="`y` must hold 'mask'"):
        model.train_on_batch(IMAGES, np.zeros(len(IMAGES)))

import keras
import numpy as np
import pytest

from fcam_tf.graphs import graph

L = keras.layers
X = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")


def functional(inner=None, name=None):
    images = keras.Input((8, 8, 3), name="images")
    x = L.Conv2D(3, 1, name="conv")(images)
    x = inner(x) if inner is not None else L.ReLU(name="relu")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, L.Dense(2, name="dense")(x), name=name)


def body(name="body", conv="inner_conv"):
    images = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 3, padding="same", name=conv)(images)
    return keras.Model(images, L.Add(name=f"{name}_add")([x, images]), name=name)


def sequential(*layers):
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def head():
    return [L.GlobalAveragePooling2D(), L.Dense(2, activation="softmax")]


NESTED = {
    "functional in functional": lambda: functional(body()),
    "functional in functional in functional": lambda: functional(
        keras.Model(images := keras.Input((8, 8, 3)), body()(images))
    ),
    "sequential in sequential": lambda: sequential(sequential(L.Conv2D(4, 3)), *head()),
    "functional in sequential": lambda: sequential(body(), *head()),
    "sequential in functional": lambda: functional(sequential(L.Conv2D(4, 3), L.ReLU())),
}


@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED)
def test_flatten_nested(make):
    model = make()
    flat = graph.flatten(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    np.testing.assert_allclose(flat(X), model(X), rtol=1e-6)
    assert {id(v) for v in flat.weights} == {id(v) for v in model.weights}
    assert flat.name == model.name


def test_flatten_returns_a_flat_graph_itself():
    model = functional()
    assert graph.flatten(model) is model


def test_flatten_inlines_a_model_used_twice():
    shared = body()
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, L.Flatten()(shared(shared(images))))
    np.testing.assert_allclose(graph.flatten(model)(X), model(X), rtol=1e-6)


def test_flatten_tells_equal_names_apart():
    model = functional(body(conv="conv"))
    names_before = [layer.name for layer in model.layers]
    flat = graph.flatten(model)
    np.testing.assert_allclose(flat(X), model(X), rtol=1e-6)
    assert {"conv", "conv_2"} <= {layer.name for layer in flat.layers}
    assert isinstance(flat.get_layer("conv_2"), L.Conv2D)
    assert flat.get_layer("conv_2").kernel is model.get_layer("body").get_layer("conv").kernel
    assert [layer.name for layer in model.layers] == names_before
    assert model.get_layer("body").get_layer("conv").name == "conv"


def test_equal_name_of_a_layer_used_twice_is_changed_once():
    shared = body(conv="conv")
    images = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 1, name="conv")(images)
    model = keras.Model(images, L.Flatten()(shared(shared(x))))
    flat = graph.flatten(model)
    np.testing.assert_allclose(flat(X), model(X), rtol=1e-6)
    assert sum(layer.name.startswith("conv") for layer in flat.layers) == 2


def test_flatten_passes_training_on():
    images = keras.Input((8, 8, 3))
    dropping = keras.Model(images, L.Dropout(0.5)(images))
    flat = graph.flatten(sequential(dropping, *head()))
    assert np.any(flat(X, training=True).numpy() != flat(X).numpy())


def test_as_functional():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    class Overriding(keras.Model):
        def call(self, inputs):
            return super().call(inputs) + 1.0

    model = functional()
    assert graph.as_functional(model) is model
    assert graph.as_functional(sequential(*head())).outputs[0].shape == (None, 2)
    assert graph.as_functional(keras.Sequential(head())) is None
    assert graph.as_functional(Subclassed()) is None
    assert graph.as_functional(Overriding(model.inputs, model.outputs)) is None
    assert graph.as_functional(L.Dense(1)) is None


def test_nested_model_with_its_own_call_stays_a_layer():
    class Overriding(keras.Model):
        def call(self, inputs):
            return super().call(inputs) + 1.0

    images = keras.Input((8, 8, 3))
    model = functional(Overriding(images, L.Conv2D(3, 1)(images)))
    np.testing.assert_array_equal(graph.flatten(model)(X), model(X))


@pytest.mark.parametrize("call", [graph.flatten, lambda m: graph.replay(m, keras.Input((8, 8, 3)))])
def test_subclassed_is_refused(call):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match=r"functional or built sequential.*Subclassed"):
        call(Subclassed())


def test_replay_keeps_the_structure_of_outputs():
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, {"a": L.ReLU()(images), "b": L.Flatten()(images)})
    out = graph.replay(model, keras.Input((8, 8, 3)))
    assert {name: x.shape for name, x in out.items()} == {"a": (None, 8, 8, 3), "b": (None, 192)}


def test_replay_can_replace():
    model = functional()
    images = keras.Input((8, 8, 3))
    out = graph.replay(model, images, lambda o: (lambda x: x) if o.name == "relu" else o)
    without = keras.Model(images, out)
    x = model.get_layer("conv")(X)
    expected = model.get_layer("dense")(x.numpy().mean((1, 2)))
    np.testing.assert_allclose(without(X), expected, rtol=1e-5)


def test_steps_run_in_order():
    model = functional(body())
    done = {id(x) for x in model.inputs}
    names = []
    for step in graph.steps(graph.flatten(model)):
        names.append(step.operation.name)
        if len(names) > 1:
            assert {id(x) for x in step.inputs} <= done
        done |= {id(x) for x in step.outputs}
    assert names[0] == "conv"
    assert names[-2:] == ["pool", "dense"]


def test_steps_of_an_operation_that_is_no_layer():
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.ops.mean(images * 2.0, axis=(1, 2)))
    assert len(graph.steps(model)) == 2


def copied(model):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, graph.replay(model, images, graph.copy_layers()))


def counted():
    images = keras.Input((8, 8, 3))
    x = L.Multiply()([L.ReLU()(images), images])
    x = L.Multiply()([x, L.Conv2D(3, 1, name="conv")(x)])
    x = L.Conv2D(3, 3)(L.Dropout(0.5)(x))
    return keras.Model(images, L.Conv2D(3, 3, name="block_2")(x))


def test_copied_names_do_not_depend_on_what_was_built_before():
    names = [[layer.name for layer in copied(counted()).layers[1:]] for _ in range(2)]
    assert names[0] == names[1]
    assert names[0] == [
        "re_lu0", "multiply0", "conv", "multiply1", "dropout0", "conv2d0", "block_2"
    ]  # fmt: skip


def test_copies_have_weights_of_their_own():
    model = counted()
    copy = copied(model)
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy(X), model(X), rtol=1e-6)


def test_a_shared_layer_is_copied_once():
    images = keras.Input((8, 8, 3))
    conv = L.Conv2D(3, 1)
    model = keras.Model(images, conv(conv(images)))
    assert len(copied(model).weights) == 2


def test_copied_dropout_can_be_frozen():
    copy = copied(counted())
    copy.trainable = False
    np.testing.assert_array_equal(copy(X, training=True), copy(X, training=False))


def test_makers_find_what_gave_a_tensor():
    x = keras.Input((4, 4, 3))
    y = keras.layers.Conv2D(2, 1, name="conv")(x)
    model = keras.Model(x, keras.layers.ReLU(name="relu")(y))
    found = graph.makers(graph.steps(model))
    assert found[id(y)].operation.name == "conv"
    assert found[id(model.outputs[0])].operation.name == "relu"
    assert id(x) not in found


def test_what_is_untracked_is_no_part_of_the_model():
    part = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    model.hidden = graph.Untracked(part=part, parts=[part])
    assert [w.shape for w in model.weights] == [(3, 5), (5,)]
    assert len(model.variables) == len(model.trainable_variables) == 2
    part.trainable = False
    assert len(model.trainable_variables) == 2


def test_what_leads_to_a_tensor_is_given_once_and_the_nearest_first():
    images = keras.Input((8, 8, 3))
    one = L.Conv2D(3, 1)(images)
    two = L.ReLU()(one)
    both = L.Add()([one, two])
    maker = graph.makers(graph.steps(keras.Model(images, both)))

    def names(*arguments):
        known = {id(images): "images", id(one): "one", id(two): "two", id(both): "both"}
        return [known[id(x)] for x in graph.leading_to(maker, *arguments)]

    assert names([both]) == ["both", "one", "two", "images"]
    assert names([both], [one]) == ["both", "two"]
    assert names([both], [two]) == ["both", "one", "images"]
    assert names([two, one]) == ["two", "one", "images"]
    assert names([images]) == ["images"]

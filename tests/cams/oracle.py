"""The CAM methods written out slowly, on what a tape gives of a model as `predict` runs it.

No graph is cut: layers run in their model and are only listened to.
"""

import contextlib
import functools
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

L = keras.layers
CHANNELS = 2  # that the methods with a pass for each channel look at
SEED, NOISE, STD, SAMPLES, INTERVALS = 7, 0.1, 2.0, 2, 2
MEAN = {"axis": (1, 2), "keepdims": True}
# What `cams.get` is told so that it looks at the same.
OPTIONS = {
    "smoothgradcampp": {"seed": SEED, "noise_level": NOISE, "samples": SAMPLES},
    "scorecam": {"channels": CHANNELS},
    "sscam": {"channels": CHANNELS, "seed": SEED, "samples": SAMPLES, "std": STD},
    "iscam": {"channels": CHANNELS, "intervals": INTERVALS},
    "ablationcam": {"channels": CHANNELS},
}


@contextlib.contextmanager
def calling(layer, name, call):
    """Let a layer's method be another for a while."""
    before = vars(layer).get(name)  # of another listener
    setattr(layer, name, call)
    try:
        yield
    finally:
        setattr(layer, name, before) if before else delattr(layer, name)


def listening(layer, listen):
    """Let ``listen`` take what a layer gives, before its activation, and return what goes on."""
    name = "quantized_call" if getattr(layer, "quantization_mode", None) else "call"
    plain = getattr(layer, name)

    def call(*args, **options):
        activation = getattr(layer, "activation", None)
        if activation is None:
            return listen(plain(*args, **options))
        layer.activation = keras.activations.linear
        try:
            z = plain(*args, **options)
        finally:
            layer.activation = activation
        return activation(listen(z))

    return calling(layer, name, call)


class Oracle:
    """A kind of model with inputs of two images, and the maps that follow from plain runs of it.

    Attributes:
        outputs: what the model gives, the first of them.
        logits: (B, classes), before any activation.
        labels: (B,), the predicted classes, which are explained.
    """

    def __init__(self, kind, model, inputs):
        self.kind, self.model = kind, model
        task = getattr(model, "preprocessor", None)
        self._inputs = task(inputs) if task else inputs
        flat = keras.tree.flatten(self._inputs)
        named = isinstance(self._inputs, dict)
        self.images = np.asarray(self._inputs["photo"] if named else flat[0], "float32")
        layers = {}
        for layer in model._flatten_layers():
            layers.setdefault(layer.name, layer)
        self._tap = layers[kind.tap] if isinstance(kind.tap, str) else kind.tap(model)
        self._head = layers.get(kind.head)
        self.labels = None
        self.a, self.g = self.evidence(self.images)

    def run(self, images, without=None):
        """Run the model once; ``without`` are the numbers (B,) of channels that are set to 0."""
        noted = SimpleNamespace()

        def tapped(out):
            first, *rest = keras.tree.flatten(out)
            if without is not None:
                first = first * self._kept(first, without)
            noted.map = first
            return keras.tree.pack_sequence_as(out, [first, *rest])

        def headed(out):
            noted.scores = out
            return out

        with contextlib.ExitStack() as stack:
            plain = self._tap.call  # with its activation
            stack.enter_context(
                calling(self._tap, "call", lambda *x, **options: tapped(plain(*x, **options)))
            )
            if self._head is not None:
                stack.enter_context(listening(self._head, headed))
            outputs = self.model(self._all(images), training=False)
        noted.outputs = keras.tree.flatten(outputs)[0]
        noted.logits = self._logits(noted.scores if self._head is not None else outputs)
        return noted

    def evidence(self, images):
        """Return the map and its gradient of the labels' score, both (B, h, w, C)."""
        with tf.GradientTape() as tape:
            x = tf.convert_to_tensor(images)
            tape.watch(x)
            run = self.run(x)
            if self.labels is None:
                self.outputs, self.logits = run.outputs, np.asarray(run.logits)
                self.labels = self.logits.argmax(-1)
            score = self._score(run.logits)
        return self._map(run.map), self._map(tape.gradient(score, run.map))

    def probability(self, images):
        """Return what the score methods weight by, (n,), for images that repeat those given."""
        logits = np.asarray(self.run(images).logits)
        labels = np.tile(self.labels, len(logits) // len(self.labels))
        if self.kind.ending == "score":
            return logits[:, 0]
        if self.kind.ending == "sigmoid":
            return (1 / (1 + np.exp(-logits)))[np.arange(len(labels)), labels]
        e = np.exp(logits - logits.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True))[np.arange(len(labels)), labels]

    def parts(self):
        """Return FullGrad's terms: gradient times image, and times the bias of every layer."""
        noted = []

        def listen(bias, z):
            noted.append((bias, z))
            return z

        with contextlib.ExitStack() as stack:
            for layer in self.model._flatten_layers():
                bias = _bias(layer)
                if bias is not None:
                    stack.enter_context(listening(layer, functools.partial(listen, bias)))
            with tf.GradientTape() as tape:
                x = tf.convert_to_tensor(self.images)
                tape.watch(x)
                score = self._score(self.run(x).logits)
            gradients = tape.gradient(score, [x, *(z for _, z in noted)])
        factors = [self.images, *(bias for bias, _ in noted)]
        pairs = zip(gradients, factors, strict=True)
        return [np.asarray(g) * np.asarray(factor) for g, factor in pairs if g is not None]

    def maps(self, method, *, linear):
        """Return a method's maps before normalisation, (B, h, w)."""
        if method in GRADIENT:
            weights = GRADIENT[method](self.a, self.g)
            return np.maximum((weights * self.a).sum(-1), 0)
        return getattr(self, method)(linear=linear)

    def cam(self, **_):
        return (self.g.mean(**MEAN) * self.a).sum(-1)

    def gradcamelementwise(self, **_):
        return np.maximum(self.a * self.g, 0).sum(-1)

    def eigencam(self, **_):
        return first_component(self.a)

    def eigengradcam(self, **_):
        return first_component(self.a * self.g)

    def fullgrad(self, **_):
        size, total = self.images.shape[1:3], 0
        for term in self.parts():
            if term.ndim == 4:
                total = total + resized(min_max(np.abs(term), (1, 2, 3)).sum(-1), size)
        return total

    def smoothgradcampp(self, *, linear):
        draws = keras.random.SeedGenerator(SEED)
        span = np.ptp(self.images, axis=(1, 2, 3), keepdims=True)
        copies = []
        for _ in range(1 if linear else SAMPLES):  # whose gradient is the same in all copies
            noise = np.asarray(keras.random.normal(self.images.shape, seed=draws))
            copies.append(self.images + NOISE * span * noise)
        a, g = (
            x.reshape(len(copies), *self.a.shape) for x in self.evidence(np.concatenate(copies))
        )
        squares, cubes = (g**2).mean(0), (g**3).mean(0)
        a, g = a[-1], g[-1]
        weights = squares * np.maximum(g, 0)
        alive = weights > 0
        below = 2 * squares + cubes * self.a.sum(**MEAN)
        weights = np.where(alive, weights / np.where(alive, below, 1), 0).mean(**MEAN)
        return np.maximum((weights * a).sum(-1), 0)

    def scorecam(self, **_):
        return self._weighted_channels(0, 1)

    def sscam(self, **_):
        return self._weighted_channels(1, 1 + SAMPLES)

    def iscam(self, **_):
        return self._weighted_channels(1 + SAMPLES, 1 + SAMPLES + INTERVALS)

    def ablationcam(self, **_):
        total, images = 0, np.arange(len(self.images))
        for channel in self._chosen:
            logits = np.asarray(self.run(self.images, channel).logits)
            drop = self.logits[images, self.labels] - logits[images, self.labels]
            total = total + drop[:, None, None] * self.a[images, :, :, channel]
        return np.maximum(total, 0)

    @functools.cached_property
    def _chosen(self):
        """The channels that vary most over each map, (K, B)."""
        return np.argsort(-self.a.var((1, 2)), axis=-1)[:, :CHANNELS].T

    @functools.cached_property
    def _masked_scores(self):
        """The channels (K, B, h, w) in [0, 1], and the scores (filters, K, B) of masked images."""
        draws, base = keras.random.SeedGenerator(SEED), self.images.mean(**MEAN)
        noise = [
            STD * np.asarray(keras.random.normal((1, *self.images.shape[1:]), seed=draws))
            for _ in range(SAMPLES)
        ]
        faded = [sum(range(1, n + 1)) / INTERVALS for n in range(1, INTERVALS + 1)]
        filters = [(1, 0), *((1, each) for each in noise), *((factor, 0) for factor in faded)]
        rows = np.arange(len(self.images))
        channels = [min_max(self.a[rows, :, :, channel]) for channel in self._chosen]
        masks = [resized(each, self.images.shape[1:3])[..., None] for each in channels]
        masked = [
            base + (self.images - base) * (factor * mask + each)
            for factor, each in filters
            for mask in masks
        ]
        scores = self.probability(np.concatenate(masked).astype("float32"))
        return np.array(channels), scores.reshape(len(filters), len(channels), -1)

    def _weighted_channels(self, start, end):
        channels, scores = self._masked_scores
        weights = scores[start:end].sum(0)[..., None, None]
        return np.maximum((weights * channels).sum(0), 0)

    def _all(self, images):
        """Return all inputs with other images, each of those given as often as the images need."""
        times = len(images) // len(self.images)

        def filled(x, original):
            if original is self._photo:
                return tf.convert_to_tensor(x)
            return tf.convert_to_tensor(np.concatenate([np.asarray(original)] * times))

        return keras.tree.map_structure(functools.partial(filled, images), self._inputs)

    @property
    def _photo(self):
        inputs = self._inputs
        return inputs["photo"] if isinstance(inputs, dict) else keras.tree.flatten(inputs)[0]

    def _logits(self, given):
        z = keras.tree.map_structure(lambda x: tf.cast(x, "float32"), given)
        z = self.kind.logits(z)
        self._one = z.shape[-1] == 1 and self.kind.ending != "score"
        return tf.concat([-z / 2, z / 2], -1) if self._one else z

    def _score(self, logits):
        """Return what is explained, (B,): a logit, or z itself of a single sigmoid."""
        labels = np.tile(self.labels, len(logits) // len(self.labels))
        chosen = tf.one_hot(labels, logits.shape[-1])
        return (2.0 if self._one else 1.0) * tf.reduce_sum(logits * chosen, -1)

    def _map(self, x):
        """Return a tensor (B, h, w, C), or the last of (B, tokens, C) as rows, float64."""
        x = np.asarray(x, "float64")
        if self.kind.grid is None:
            return x
        height, width = self.kind.grid
        return x[:, -height * width :].reshape(len(x), height, width, -1)

    def _kept(self, x, without):
        kept = np.ones(x.shape, "float32")
        cells = slice(None)
        if self.kind.grid is not None:  # class tokens stay
            cells = slice(-self.kind.grid[0] * self.kind.grid[1], None)
        for image, channel in zip(kept, without, strict=True):
            image[cells, ..., channel] = 0
        return kept


def _bias(layer):
    """Return what a layer adds, None of one that adds nothing."""
    if isinstance(layer, L.BatchNormalization):
        slope = np.asarray(layer.gamma) / np.sqrt(layer.moving_variance + layer.epsilon)
        return np.asarray(layer.beta) - np.asarray(layer.moving_mean) * slope
    if isinstance(layer, L.Normalization):
        return -np.asarray(layer.mean) / np.sqrt(layer.variance)
    if isinstance(layer, L.Rescaling):
        return layer.offset
    return getattr(layer, "bias", None)


def min_max(maps, axes=(1, 2)):
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


def resized(maps, size):
    """Scale maps (B, h, w), bilinear with half-pixel centres."""
    return np.asarray(tf.image.resize(maps[..., None], size))[..., 0]


def first_component(maps):
    """Return the first left singular vector times its value; it agrees with the sum of channels."""
    found = []
    for one in maps:
        matrix = one.reshape(-1, one.shape[-1])
        u, s, _ = np.linalg.svd(matrix, full_matrices=False)
        projected = u[:, 0] * s[0]
        found.append(np.sign(projected @ matrix.sum(-1)) * projected.reshape(one.shape[:2]))
    return np.array(found)


def _xgradcam(a, g):
    total = a.sum(**MEAN)
    return np.where(total != 0, (g * a).sum(**MEAN) / np.where(total != 0, total, 1), 0)


def _gradcampp(_, g):
    g = g / np.abs(g).max((1, 2, 3), keepdims=True)
    return (g**2 * np.maximum(g, 0)).mean(**MEAN)


# The weights of maps A by their gradients g.
GRADIENT = {
    "gradcam": lambda _, g: g.mean(**MEAN),
    "gradcampp": _gradcampp,
    "xgradcam": _xgradcam,
    "layercam": lambda _, g: np.maximum(g, 0),
    "hirescam": lambda _, g: g,
}

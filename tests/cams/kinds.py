"""Every kind of model that was tried, with what comes of it: the tables of docs/models.md."""

import numpy as np
import tensorflow as tf
from keras import layers as L  # noqa: N812 - as in the package
from keras import ops
from keras.applications import densenet, mobilenet, vgg16

from fcam_tf.cams import scores as score_functions
from tests.cams import networks
from tests.cams.kind import (
    MORE_INPUTS,
    NO_LAYER,
    OTHER_BIAS,
    Kind,
    classifier_of_keras_cv,
    head,
    linear,
    mixed,
    named,
    quantized,
    quantized_lora,
    score,
    to_dense,
)
from tests.cams.networks import SQUARE, WIDE, pooled, scores, tokens, trunk, vit
from tests.cams.networks import plain as of

PLAIN = {
    "augmentation in a nested model": linear(lambda x: trunk(networks.augmented(x))),
    "augmentation": linear(lambda x: trunk(L.RandomContrast(0.9)(x))),
    "adapted normalization": linear(lambda x: trunk(networks.adapted()(x))),
    "preprocess_input, caffe": linear(lambda x: trunk(vgg16.preprocess_input(x)), exact=False),
    "preprocess_input, torch": linear(lambda x: trunk(densenet.preprocess_input(x)), exact=False),
    "preprocess_input, tf, in a Lambda": linear(
        lambda x: trunk(L.Lambda(mobilenet.preprocess_input)(x)), exact=False
    ),
    "resized inside": linear(lambda x: trunk(L.Resizing(24, 24)(x)), exact=False),
    "wide images": Kind(
        lambda: of(lambda x: scores(pooled(trunk(x))), WIDE), "top", shapes=(WIDE,),
        linear=True, exact=True,
    ),
    "grey images": Kind(
        lambda: of(lambda x: scores(pooled(trunk(x))), (16, 16, 1)), "top", shapes=((16, 16, 1),),
        linear=True, exact=True,
    ),
    "dropout": Kind(
        lambda: of(lambda x: scores(L.Dropout(0.5)(pooled(L.SpatialDropout2D(0.5)(trunk(x)))))),
        "top", linear=True, exact=True,
    ),
    "nested": linear(networks.nested),
    "a sub-model used twice": linear(networks.twice, "sum", exact=False),
    "a layer of layers": linear(
        networks.of_layers, "block", exact=False, fullgrad=OTHER_BIAS
    ),
    "squeeze and excite": linear(
        lambda x: networks.excited(trunk(x)), "excited", exact=False
    ),
    "keras-cv classifier": Kind(
        classifier_of_keras_cv, "v2_stack_0_block1_out", head="predictions", linear=True, exact=True
    ),
    "softmax by TensorFlow": head(
        lambda x: scores(x, activation=tf.nn.softmax), linear=True, exact=True
    ),
    "log-softmax": head(lambda x: scores(x, activation="log_softmax"), linear=True, exact=True),
    "softmax operation": head(lambda x: ops.softmax(scores(x)), linear=True, exact=True),
    "softmax layer": head(lambda x: L.Softmax()(scores(x)), linear=True, exact=True),
    "temperature": head(
        lambda x: L.Softmax()(scores(x) / 2.0), logits=lambda z: z / 2, exact=True
    ),
    "cosine head": head(
        networks.cosine, fullgrad=OTHER_BIAS
    ),
    "two dense layers": Kind(lambda: of(to_dense), "top", exact=True),
    "flat head": Kind(lambda: of(lambda x: scores(L.Flatten()(trunk(x)))), "top", exact=True),
    "largest value": Kind(
        lambda: of(lambda x: scores(L.GlobalMaxPooling2D()(trunk(x)))), "top", exact=True
    ),
    "mean by an operation": Kind(
        lambda: of(lambda x: scores(ops.mean(trunk(x), axis=(1, 2)))), "top",
        linear=True, exact=True,
    ),
    "normalised features": head(lambda x: scores(L.BatchNormalization()(x)), exact=True),
    "class maps": Kind(
        lambda: of(lambda x: pooled(L.Conv2D(3, 1, name="maps")(trunk(x)))), "maps", exact=True
    ),
    "attention behind the map": Kind(
        lambda: of(lambda x: scores(networks.attention(trunk(x)))), "mixed", grid=(8, 8),
        linear=True,
    ),
    "low-rank adapted head": head(networks.lora, linear=True, exact=True),
    "int8 head": quantized("int8", lambda x: scores(pooled(trunk(x)), activation="softmax")),
    "int4 head": quantized("int4", lambda x: scores(pooled(trunk(x)), activation="softmax")),
    "int8 dense layers": quantized("int8", to_dense),
    "int8 head, low-rank adapted": head(scores, finish=quantized_lora),
    "mixed_float16": mixed(
        "mixed_float16", lambda x: scores(pooled(trunk(x)), dtype="float32"),
        close=0.02, linear=True,
    ),
    "mixed_float16, differentiated": mixed(
        "mixed_float16", lambda x: to_dense(x, activation="softmax"), close=0.02
    ),
    "mixed_bfloat16": mixed(
        "mixed_bfloat16", lambda x: scores(pooled(trunk(x))), close=0.1, linear=True
    ),
    "mixed_bfloat16, differentiated": mixed(
        "mixed_bfloat16", lambda x: to_dense(x, activation="softmax"), close=0.1
    ),
}  # fmt: skip

SIGMOIDS = {
    "a sigmoid": head(lambda x: scores(x, 1, activation="sigmoid"), linear=True),
    "a logit": head(lambda x: scores(x, 1), linear=True),
    "a sigmoid layer": head(lambda x: L.Activation("sigmoid")(scores(x, 1)), linear=True),
    "sigmoids": head(
        lambda x: scores(x, activation="sigmoid"), ending="sigmoid", linear=True
    ),
    "sigmoid operation": head(
        lambda x: ops.sigmoid(scores(x)), ending="sigmoid", linear=True
    ),
    "sigmoids by TensorFlow": head(
        lambda x: scores(x, activation=tf.nn.sigmoid), ending="sigmoid", linear=True
    ),
    "int8 sigmoid": quantized("int8", lambda x: scores(pooled(trunk(x)), 1, activation="sigmoid")),
}  # fmt: skip


REGION = np.zeros(SQUARE[:2], bool)
REGION[2:6, 5:10] = True
WANTED = np.float32([1, -2, 0.5, 3])
of_region = score(
    lambda y: tf.reduce_sum(y[..., 2] * REGION, (1, 2)) / REGION.sum(),
    options={"score": score_functions.region_mean(2, REGION)},
)
BLOCK = "transformer_block" if networks.SWIN else "tranformer_block"  # as keras-hub 0.25 has it
last_block = named(f"{BLOCK}_1")
wide = {"grid": (4, 6), "shapes": (WIDE,)}
hub = wide | {"fullgrad": OTHER_BIAS, "close": 2e-3}

OTHERS = {
    "keras-hub ViT": Kind(vit, last_block, normalised=True, **hub),
    "keras-hub ViT, mean of tokens": Kind(lambda: vit(pooling="gap"), "ln", slow=True, **hub),
    "keras-hub ViT, a layer within": Kind(
        vit, lambda model: model.backbone.get_layer("vit_encoder").encoder_layers[-1].layer_norm_1,
        slow=True, **hub | {"options": {"layer": f"{BLOCK}_2/ln_1"}, "fullgrad": NO_LAYER},
    ),
    "keras-hub DeiT": Kind(networks.deit, named("transformer_block_1"), normalised=True, **hub),
    "keras-hub Swin": Kind(
        networks.swin, "norm", linear=True, **hub | {"shapes": ((32, 48, 3),)}
    ),
    "keras-hub classifier with its preprocessor": Kind(
        networks.preprocessed, last_block, normalised=True, **hub | {"shapes": ((20, 30, 3),)}
    ),
    "keras.applications ConvNeXt": Kind(
        networks.convnext, "top", shapes=((64, 64, 3),), fullgrad=OTHER_BIAS, close=2e-3
    ),
    "ViT by hand, class token": Kind(
        lambda: tokens(1, networks.first), "block1", normalised=True, **hub
    ),
    "ViT by hand, class and register tokens": Kind(
        lambda: tokens(5, networks.first), "block1", normalised=True, slow=True, **hub
    ),
    "ViT by hand, mean of tokens": Kind(
        lambda: tokens(0, L.GlobalAveragePooling1D()), "block2", linear=True, **hub
    ),
    "ViT by hand, largest value of tokens": Kind(
        lambda: tokens(0, L.GlobalMaxPooling1D()), "block2", slow=True, **hub
    ),
    "ViT by hand, int8": Kind(
        lambda: tokens(1, networks.first), "block1",
        normalised=True, slow=True, finish=lambda model: model.quantize("int8"), **hub,
    ),
    "tokens whose grid is given": Kind(
        lambda: tokens(0, L.GlobalAveragePooling1D()), "block1", slow=True,
        **hub | {"options": {"layer": "block1", "grid": (6, 4)}, "grid": (6, 4),
                 "fullgrad": NO_LAYER},
    ),
    "a grid that does not fit": Kind(
        lambda: tokens(1, networks.first), options={"layer": "block1", "grid": (7, 7)},
        refused=r"`grid` must be \(height, width\).*'block1': 7x7 does not fit 25 tokens",
    ),
    "an encoder that cannot be looked into": Kind(
        lambda: of(networks.hidden), refused=r"`layer` must be given.*near its head.*patches"
    ),
    "columns of a text line": Kind(
        lambda: of(networks.text_line), refused="`layer` must be given"
    ),
    "columns of a text line, as a layer": Kind(
        lambda: of(networks.text_line), options={"layer": "columns"},
        refused="16 tokens of images of 16x16 have no",
    ),
    "numbers beside the image": Kind(
        networks.two_inputs, "top", shapes=(SQUARE, (4,)), fullgrad=MORE_INPUTS
    ),
    "numbers beside a transformer": Kind(
        networks.tokens_and_numbers, "block0", grid=(4, 6), shapes=(WIDE, (4,)), normalised=True,
        fullgrad=MORE_INPUTS, close=2e-3,
    ),
    "inputs by name": Kind(
        lambda: networks.two_inputs(by_name=True), "top", shapes=(SQUARE, (4,)),
        fullgrad=MORE_INPUTS,
    ),
    "two pictures": Kind(
        networks.two_pictures, "top", shapes=(SQUARE, SQUARE), options={"image_input": "left"},
        fullgrad=MORE_INPUTS,
    ),
    "two pictures, none named": Kind(
        networks.two_pictures, refused=r"`image_input` must say which.*left, right"
    ),
    "several outputs, one named": Kind(
        lambda: of(networks.two_outputs), "top", logits=lambda y: y[1], exact=True,
        options={"output": "age"},
    ),
    "several outputs, none named": Kind(
        lambda: of(networks.two_outputs), refused=r"`output` name one.*species, age"
    ),
    "several outputs, a score of all": Kind(
        lambda: of(networks.two_outputs), "top",
        **score(lambda y: y[0][:, 1] * y[1][:, 0],
                options={"score": lambda y: y[0][:, 1] * y[1][:, 0]}),
    ),
    "segmentation": Kind(lambda: of(networks.segmentation), "fine", **of_region),
    "segmentation, at an inner layer": Kind(
        lambda: of(networks.segmentation), "top", fullgrad=NO_LAYER,
        **of_region | {"options": of_region["options"] | {"layer": "top"}},
    ),
    "segmentation that ends in a softmax": Kind(
        lambda: of(lambda x: networks.segmentation(x, "softmax")), "fine", head="logits",
        **score(lambda y: tf.reduce_mean(y[..., 2] - y[..., 0], (1, 2)),
                options={"score": lambda y: ops.mean(y[..., 2] - y[..., 0], axis=(1, 2))}),
    ),
    "segmentation without a score": Kind(
        lambda: of(networks.segmentation), refused=r"\(batch, classes\).*region_mean"
    ),
    "regression": Kind(
        lambda: of(lambda x: L.Dense(2)(L.Flatten()(trunk(x)))), "top", exact=True,
        **score(lambda y: y[:, 1], options={"score": score_functions.value(1)}),
    ),
    "embedding": head(
        lambda x: L.UnitNormalization()(L.Dense(4)(x)),
        **score(lambda y: tf.linalg.matvec(y, WANTED / np.linalg.norm(WANTED)),
                options={"score": score_functions.similarity(WANTED)}),
    ),
    "one logit, against the positive class": head(
        lambda x: scores(x, 1), exact=True,
        **score(lambda y: -y[:, 0],
                options={"score": score_functions.binary_logit(positive=False)}),
    ),
    "one class and not another": Kind(
        lambda: of(lambda x: L.Dense(3)(L.Flatten()(trunk(x)))), "top", exact=True,
        **score(lambda y: y[:, 2] - y[:, 0],
                options={"score": score_functions.difference(2, 0)}),
    ),
    "subclassed model": Kind(
        lambda: networks.called(networks.Subclassed()), "top", linear=True, exact=True
    ),
    "subclassed model, never called": Kind(networks.Subclassed, refused="once it was called"),
    "subclassed model that branches on values": Kind(
        lambda: networks.called(networks.Subclassed(branches=True)),
        refused="cannot be traced with symbolic tensors",
    ),
    "channels first, turned inside": Kind(
        networks.first_channels, refused=r"channels last.*takes images \(3, 16, 16\)"
    ),
    "cropped inside": Kind(
        lambda: of(lambda x: scores(pooled(trunk(L.CenterCrop(12, 12)(x))))), refused="center_crop"
    ),
    "mirrored inside": Kind(
        lambda: of(lambda x: scores(pooled(trunk(x[:, :, ::-1])))), refused="get_item"
    ),
    "signal": Kind(networks.signal, refused="no map"),
    "film": Kind(networks.film, refused="no map"),
}  # fmt: skip

KINDS = PLAIN | SIGMOIDS | OTHERS
# Close to one that is not slow.
for each in (
    "preprocess_input, torch",
    "preprocess_input, tf, in a Lambda",
    "softmax operation",
    "softmax layer",
    "a sigmoid layer",
    "sigmoid operation",
    "sigmoids by TensorFlow",
    "int8 head, low-rank adapted",
    "mixed_float16",
    "mixed_bfloat16",
    "ViT by hand, mean of tokens",
    "numbers beside a transformer",
):
    KINDS[each].slow = True

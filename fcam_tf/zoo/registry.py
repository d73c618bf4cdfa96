"""The registry: loading an entry as a model, making an entry from a model, and checking it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcam_tf.atomic import new_folder
from fcam_tf.identity import file_sha256
from fcam_tf.models import FCAM, Classifier
from fcam_tf.models.pretrained import HEAD
from fcam_tf.zoo.cards import CARD, Card, check_card
from fcam_tf.zoo.entries import COPIES, WEIGHTS, card, folder_of, neighbours, new_entry, untrained
from fcam_tf.zoo.fetch import find_weights
from fcam_tf.zoo.weights import read_weights, write_weights

IMAGENET = "imagenet"
_PARTS = {"classifier", "backbone"}  # which a card may say are the pretrained ones
_SIDE = 64  # pixels of the picture that is answered
_CLASSES = 10  # whose logits are kept
_TOLERANCE = 1e-2  # of logits of order 10, on other processors and versions


def load(
    name: str,
    weights: str | Path | None = "auto",
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> FCAM:
    """Load an entry: compiled, its classifier frozen, ready for ``localize`` and ``fit``.

    Its teacher is the one that it was trained with: ``fit`` uses maps with the same scales and
    mirror images.

    Args:
        name: ``<backbone>_<method>``, perhaps with ``.<data set>``, see `list_models`. A model that
            has not been trained is built with new weights, for ``fit``, and a warning says so.
        weights: "auto" takes the entry's own, see `fcam_tf.zoo.fetch.find_weights`; for an
            untrained model, the ImageNet weights of its backbone. A path takes a weights file for
            this architecture. None leaves everything as initialised.
        num_classes: another number of classes, which replaces the linear head and nothing else. An
            untrained model has 200 if neither this nor ``class_names`` is given.
        class_names: names of the new classes.

    Raises:
        ValueError: there is no such model, its card cannot be built, the file contains other
            weights, or the number of classes does not match the names.
        TypeError: ``class_names`` is a single str.
        FileNotFoundError: the weights cannot be found.
        WeightsDamagedError: a file is not the one that the card describes.
        WeightsUnavailableError: the ImageNet weights of the backbone cannot be fetched.

    Examples:
        >>> model = fcam_tf.zoo.load("efficientnetlite_b0_layercam")
        >>> found = model.localize(skimage.data.chelsea()[None])
        >>> model.class_names[found.labels[0]]
        'Egyptian cat'
    """
    if isinstance(class_names, str):
        raise TypeError(f"`class_names` must be a list of names. Received: {class_names!r}.")
    if weights not in ("auto", None) and not Path(weights).is_file():
        raise FileNotFoundError(
            f'`weights` must be "auto", None or a file. There is no file {weights}.'
        )
    entry = card(name)
    architecture, trained = entry["architecture"], entry["weights"] is not None
    if class_names is not None and num_classes is None:
        num_classes = len(class_names)
    same = num_classes in (None, architecture["num_classes"]) and class_names is None
    classes = {} if same else {"num_classes": num_classes, "class_names": class_names}
    if not trained:  # there is nothing yet that has classes
        architecture |= classes
    model = _restored(entry, weights)
    if same or not trained:
        return model
    architecture |= classes
    other = _build(entry, None)
    for layer in other.layers:
        if layer.name != HEAD:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return other


def _restored(entry: Card, weights: str | Path | None) -> FCAM:
    """Build what a card describes, and give it the weights that are asked for, see `load`."""
    trained = entry["weights"] is not None
    pretrained = weights == "auto" if not trained else bool(_PARTS & entry["weights"].keys())
    model = _build(entry, IMAGENET if pretrained and weights is not None else None)
    if weights == "auto" and not trained:
        warnings.warn(
            f"{entry['name']} has not been trained yet: its backbone has ImageNet weights, its "
            f"decoder and its head of {model.num_classes} classes are new. `fit` trains them; "
            "`fcam zoo make` makes an entry of it.",
            stacklevel=3,
        )
    elif weights is not None:
        file = find_weights(entry, folder_of(entry["name"])) if weights == "auto" else weights
        read_weights(model, file, without=_left_out(model, entry))
    return model


def save(
    model: FCAM,
    name: str,
    folder: str | Path | None = None,
    *,
    trained_on: str,
    licence: str,
    recipe: Mapping[str, Any] | None = None,
    measure: Callable[[FCAM], Sequence[Mapping[str, Any]]] = lambda _: (),
    addresses: Sequence[str] = (),
    int8: bool = False,
    replace: bool = False,
) -> Path:
    """Make an entry from a trained model: FOLDER/NAME with its card and its weights.

    Pretrained weights that the backbone's source has are not stored again. The file then contains
    only the decoder or, if only the head was trained, head and decoder. If another entry of the
    folder has the same file, byte for byte, the card names that entry instead.

    Args:
        model: an F-CAM over a `Classifier`.
        name: of the entry.
        folder: the zoo; None takes the folder that FCAM_ZOO names, else ``zoo``.
        trained_on: what it was trained on, in one sentence.
        licence: licence of the weights.
        recipe: the training recipe.
        measure: function that returns the scores of the model as it will be loaded, with rounded
            weights, as card.schema.json describes them; it may set that model's threshold.
        addresses: where the weights can be fetched.
        int8: store large kernels in 8 bits, see `fcam_tf.zoo.weights.write_weights`.
        replace: whether it may replace an entry with that name, once it is complete.

    Returns:
        The entry's folder, which appears only when it is complete.

    Raises:
        FileExistsError: the folder has an entry with that name.
        TypeError: the classifier is not a `Classifier`, or the recipe or a score cannot be stored
            as JSON.
        ValueError: the name or the card violates the schema, the zoo is an address, or a weight is
            not finite.
        OSError: the folder cannot be written to.
    """
    source = getattr(model, "classifier", None)
    if not isinstance(source, Classifier):
        raise TypeError(
            "`model` must be an F-CAM over fcam_tf.models.Classifier: an entry is rebuilt from its "
            "backbone's name."
        )
    made = new_entry(name, folder, replace=replace)
    with new_folder(made, replace=replace) as place:
        stored, rebuilt = _write(model, source, name, place / WEIGHTS, int8=int8)
        stored["weights"]["addresses"] = list(addresses)
        for other in neighbours(made):
            same = other["weights"]["sha256"] == stored["weights"]["sha256"]
            if same and "entry" not in other["weights"]:
                stored["weights"]["entry"] = other["name"]
                (place / WEIGHTS).unlink(missing_ok=True)
        entry = {
            "name": name,
            "status": "trained",
            **stored,
            "trained_on": trained_on,
            "recipe": None if recipe is None else dict(recipe),
            "scores": [dict(score) for score in measure(rebuilt)],
            "threshold": rebuilt.threshold,
            "licence": licence,
            "check": reference_output(rebuilt),
        }
        try:
            text = json.dumps(entry, indent=1) + "\n"
        except TypeError as error:
            raise TypeError(f"`recipe` and `scores` must hold what JSON can: {error}.") from None
        check_card(json.loads(text), name)
        (place / CARD).write_text(text, "utf-8")
    return made


def reference_output(model: FCAM) -> dict[str, list[float]]:
    """Return the part of a model's output that a card stores, for a picture made by a formula."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    inside = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06).astype(float)
    picture = np.stack([200 * inside + 40 * x, 120 * inside + 60 * y, 255 * (1 - inside) * x], -1)
    outputs = model(picture.astype(np.uint8)[None])
    maps = np.asarray(outputs["fcam"])[0]
    return {
        "logits": [float(v) for v in np.asarray(outputs["logits"])[0, :_CLASSES]],
        "fcam": [float(v) for v in maps[4 :: _SIDE // 4, 4 :: _SIDE // 4].ravel()],
    }


def verify(card: Card, model: FCAM) -> None:
    """Check that a loaded entry gives the output that its card says.

    Loading it already checked the hash of the weights and the schema of the card.

    Args:
        card: card of the entry.
        model: the model that ``load`` returned for it.

    Raises:
        ValueError: the output differs, and the message says by how much; or the model has not been
            trained.
    """
    if card["check"] is None:
        raise ValueError(untrained(card["name"]))
    found = reference_output(model)
    for name, expected in card["check"].items():
        if len(found[name]) != len(expected):
            raise ValueError(
                f"{card['name']} does not answer as its card says: that has {len(expected)} "
                f"{name}, not {len(found[name])}."
            )
        difference = np.abs(np.subtract(found[name], expected)).max()
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"{card['name']} does not answer as its card says: {name} differ by "
                f"{difference:.3g}."
            )


def _write(
    model: FCAM, source: Classifier, name: str, path: Path, *, int8: bool
) -> tuple[Card, FCAM]:
    """Write the weights; return what a card says of them, and the model that they give."""
    pretrained = _pretrained_part(source)
    stored: Card = {
        "name": name,
        "architecture": _architecture(model, source),
        "threshold": model.threshold,
        "input": {"colour": "RGB", "range": [0, 255], "size": model.input_size},
        "weights": {"addresses": [], **({pretrained: IMAGENET} if pretrained else {})},
    }
    without = _left_out(model, stored)
    write_weights(model, path, int8=int8, without=without)
    stored["weights"] |= {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    rebuilt = _build(stored, IMAGENET if pretrained else None)
    read_weights(rebuilt, path, without=without)
    return stored, rebuilt


def _architecture(model: FCAM, source: Classifier) -> dict[str, Any]:
    names = None if model.class_names is None else list(model.class_names)
    config, teacher = source.get_config(), model.teacher
    keys = ("baseline", "options") if config["baseline"] else ()
    return {
        "backbone": source.backbone,
        "output_stride": source.output_stride,
        "num_classes": model.num_classes,
        "class_names": IMAGENET if names == Classifier.imagenet_class_names() else names,
        "method": model.method,
        "decoder_filters": list(model.decoder_filters),
        **({"layer": list(teacher.layers)} if model.layer else {}),
        **({"scales": [*teacher.scales], "flip": teacher.flip} if teacher.averages else {}),
        **{key: config[key] for key in keys},
    }


def _build(entry: Card, backbone_weights: str | None) -> FCAM:
    architecture = entry["architecture"]
    names = architecture["class_names"]
    classifier = Classifier(
        architecture["backbone"],
        architecture["num_classes"],
        output_stride=architecture["output_stride"],
        weights=backbone_weights,
        class_names=Classifier.imagenet_class_names() if names == IMAGENET else names,
        input_size=entry["input"]["size"],
        baseline=architecture.get("baseline"),
        options=architecture.get("options"),
    )
    return FCAM(
        classifier,
        method=architecture["method"],
        layer=architecture.get("layer"),
        decoder_filters=architecture["decoder_filters"],
        threshold=entry["threshold"],
        name=entry["name"].replace(".", "_"),
        **_copies(entry),
    )


def _copies(entry: Card) -> dict[str, Any]:
    """Return of which copies of the images an entry's teacher averages the maps, see `FCAM`.

    These are those of the recipe, where it stored the maps; the model knows of its own alone.
    """
    recipe = entry.get("recipe") or {}
    if recipe.get("cams") == "stored":
        found = {name: recipe.get(f"stored_{name}") for name in COPIES}
    else:
        found = {name: entry["architecture"].get(name) for name in COPIES}
    return {name: value for name, value in found.items() if value is not None}


def _left_out(model: FCAM, entry: Card) -> set[str]:
    """Return the names of the layers that the entry's weights file leaves out."""
    weights = entry["weights"] or {}
    names = {layer.name for layer in model.classifier.layers}
    if "classifier" in weights:
        return names
    return names - {HEAD} if "backbone" in weights else set()


def _pretrained_part(classifier: Classifier) -> str | None:
    """Tell what of a classifier is as its backbone's source has it: "classifier", "backbone"."""
    # Other sources would have to be downloaded to find out.
    if not classifier.spec.source.has_head or classifier.baseline.name:
        return None
    original = Classifier(classifier.backbone, output_stride=classifier.output_stride)
    same = {
        layer.name: _are_equal(layer.get_weights(), classifier.get_layer(layer.name).get_weights())
        for layer in original.layers
    }
    head = same.pop(HEAD)
    if not all(same.values()):
        return None
    return "classifier" if head else "backbone"


def _are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))

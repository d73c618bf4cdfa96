"""What goes into a model and what comes out: its image input, and the scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fcam_tf import checks
from fcam_tf.graphs import graph


@dataclasses.dataclass(frozen=True)
class Options:
    """Options for models that have other inputs than images, or other outputs than class scores.

    See `fcam_tf.cams.CAM`.
    """

    image_input: str | None = None
    output: str | int | None = None
    score: Callable[[Any], Any] | None = None
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not callable(self.score):
            raise TypeError(
                "`score` must be a function of the outputs, see fcam_tf.cams.scores. Received: "
                f"{self.score!r}."
            )
        if self.grid is not None:
            if not isinstance(self.grid, Sequence) or len(self.grid) != 2:
                raise ValueError(f"`grid` must be (height, width). Received: {self.grid!r}.")
            for side in self.grid:
                checks.whole("grid", side, 1)
            object.__setattr__(self, "grid", tuple(self.grid))


class Interface:
    """The inputs and outputs of a model.

    Attributes:
        images: the symbolic images.
        outputs: the symbolic outputs that are explained.

    Raises:
        ValueError: there is no such input or output, or there are several and none is named.
    """

    def __init__(self, model: keras.Model, flat: keras.Model, options: Options) -> None:
        self._inputs = flat.inputs
        self._input_names = _names(flat.input, [x.name for x in flat.inputs])
        self.images = self._image_input(options.image_input)
        # The names that a flattened model gives are those of the last operations within.
        shown = graph.as_functional(model) or flat
        self._structure: Any = shown.output
        names = _names(shown.output, shown.output_names)
        shapes = [tuple(x.shape) for x in flat.outputs]
        if options.output is not None:
            position = options.output
            if isinstance(position, str):
                position = names.index(position) if names.count(position) == 1 else -1
            if isinstance(position, bool) or not 0 <= position < len(names):
                raise ValueError(
                    "`output` must name one of the model's outputs or give its position. Received: "
                    f"{options.output!r}. Available: {', '.join(names)}."
                )
            self.outputs = [flat.outputs[position]]
            self._structure = None
        else:
            self.outputs = list(flat.outputs)
            if len(self.outputs) == 1:
                self._structure = None
        if options.score is not None:
            return
        if len(self.outputs) > 1:
            raise ValueError(
                "`model` must give one tensor (batch, classes), or `output` name one. Received "
                f"outputs {', '.join(names)} of shapes {shapes}. Or choose one with "
                "keras.Model(model.inputs, output)."
            )
        if len(self.outputs[0].shape) != 2:
            raise ValueError(
                "`model` must give one tensor (batch, classes). Received an output of shape "
                f"{tuple(self.outputs[0].shape)}. Choose one with keras.Model(model.inputs, "
                "output), or give `score`, a function of it such as "
                "fcam_tf.cams.scores.region_mean."
            )

    def scores(self, score: Callable[[Any], Any], outputs: list[Any]) -> Any:
        """Apply a user's score function; returns (B, 1) float32.

        Raises:
            ValueError: it does not return one number for each image.
        """
        outputs = [ops.cast(x, "float32") for x in outputs]
        packed = outputs[0]
        if self._structure is not None:
            packed = keras.tree.pack_sequence_as(self._structure, outputs)
        values = ops.convert_to_tensor(score(packed))
        if len(values.shape) != 1:
            raise ValueError(
                "`score` must return one number for each image, (B,). Received: shape "
                f"{tuple(values.shape)}."
            )
        return ops.cast(values, "float32")[:, None]

    def separate(self, inputs: Any) -> tuple[Any, tuple[Any, ...]]:
        """Split the argument of ``model.predict`` into the images and the other inputs.

        Raises:
            ValueError: an input is missing.
        """
        if isinstance(inputs, Mapping):
            missing = [name for name in self._input_names if name not in inputs]
            given = None if missing else [inputs[name] for name in self._input_names]
        elif len(self._inputs) == 1:
            return inputs, ()
        else:
            whole = isinstance(inputs, (list, tuple)) and len(inputs) == len(self._inputs)
            given = list(inputs) if whole else None
        if given is None:
            raise ValueError(
                "`images` must hold all inputs of the model, in a list or by name: "
                f"{', '.join(self._input_names)}. Received: "
                f"{list(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__}."
            )
        pairs = list(zip(self._inputs, given, strict=True))
        others = tuple(
            ops.cast(ops.convert_to_tensor(value), x.dtype)
            for x, value in pairs
            if x is not self.images
        )
        return next(value for x, value in pairs if x is self.images), others

    def _image_input(self, wanted: str | None) -> Any:
        names = self._input_names
        if wanted is not None:
            if wanted not in names:
                raise ValueError(
                    f"`image_input` must name an input of the model. Received: {wanted!r}. "
                    f"Available: {', '.join(names)}."
                )
            return self._inputs[names.index(wanted)]
        pictures = [x for x in self._inputs if len(x.shape) == 4] or self._inputs
        if len(pictures) > 1:
            raise ValueError(
                "`image_input` must say which of the model's inputs are the images: "
                f"{', '.join(names)}, of shapes {[tuple(x.shape) for x in self._inputs]}."
            )
        return pictures[0]


def _names(structure: Any, names: Sequence[str]) -> list[str]:
    """Return the keys of a dictionary in the order in which Keras flattens it, else ``names``."""
    return sorted(structure) if isinstance(structure, Mapping) else list(names)

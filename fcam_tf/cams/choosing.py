"""Which feature map a CAM weights: the requested one, or the last that all paths pass through."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fcam_tf.cams import tokens
from fcam_tf.cams.trial import tokens_and_gradients
from fcam_tf.graphs import graph
from fcam_tf.graphs.opening import Opened
from fcam_tf.names import pixels

L = keras.layers
_GLOBAL_POOLING = (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D)
_CANCELLED = 0.01  # of the products that add up
_SIDES = (256, 192)  # of an image of any size, to see how a map shrinks


class Choice:
    """The feature maps of a flat graph, maps (B, h, w, C) and tokens (B, N, C) alike.

    Args:
        opened: the model.
        maker: the step that computes each tensor, including those of ``scored``.
        images: its symbolic images.
        scored: the tensors that the score is computed from.
        levels: names of maps in this package's models; the last one is the top map.
        grid: (height, width) of tokens; None finds it.
    """

    def __init__(
        self,
        opened: Opened,
        maker: Mapping[int, graph.Step],
        images: Any,
        *,
        scored: Sequence[Any],
        levels: Mapping[str, Any],
        grid: tokens.Grid | None,
    ) -> None:
        self._opened = opened
        self._images = images
        self._scored = list(scored)
        self._levels = levels
        self._asked_grid = grid
        self._steps = graph.steps(opened.model)
        self._maker = maker

    def name(self, x: Any) -> str:
        """Return the name that users know a tensor by: its level, or its layer."""
        levels = [level for level, tensor in self._levels.items() if tensor is x]
        paths = [path for path, tensor in self._opened.names.items() if tensor is x]
        operation = self._maker[id(x)].operation
        if levels:
            return levels[0]
        if not paths or operation.name in (path.split("/")[-1] for path in paths):
            return operation.name
        parts = paths[-1].split("/")
        ends = ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
        return next(end for end in ends if self._by_path(end) is x or end == paths[-1])

    def grid(self, x: Any) -> tokens.Grid | None:
        """Return the grid of tokens, None for a map.

        Raises:
            ValueError: the grid is not known, or the requested one does not fit.
        """
        if len(x.shape) == 4:
            return None
        number = self.count(x)
        grid = self._asked_grid or self._found_grid(x)
        if grid is None or not tokens.fits(grid, number):
            size = pixels(self._images.shape[1:3])
            problem = (
                f"{number} tokens of images of {size} have no known grid"
                if grid is None
                else f"{grid[0]}x{grid[1]} does not fit {number} tokens"
            )
            raise ValueError(
                f"`grid` must be (height, width) of the tokens of {self.name(x)!r}: {problem}. "
                "Class and register tokens, which stand first, do not count."
            )
        return grid

    def find(self, wanted: Any) -> Any:
        """Return the tensor of a level, a layer or a layer's name; see `fcam_tf.cams.CAM`.

        Raises:
            ValueError: there is no such tensor, or it is not a map.
        """
        if isinstance(wanted, str) and wanted in self._levels:
            return self._levels[wanted]
        name = getattr(wanted, "name", wanted)
        found = next((s.outputs[0] for s in self._steps if s.operation.name == name), None)
        found = self._by_path(name) if found is None else found
        if found is None:
            raise ValueError(
                f"`layer` is not in the model: {name!r}. The last of its maps are "
                f"{', '.join([*self._levels, *self._last_names()])}."
            )
        if len(found.shape) not in (3, 4):
            raise ValueError(
                "`layer` must name a map (batch, height, width, channels), or tokens (batch, "
                f"tokens, channels). {name!r} gives {tuple(found.shape)}."
            )
        return found

    def last_map(self) -> Any:
        """Return the last map that all paths to the scores pass through.

        Raises:
            ValueError: there is no such map, or it is hidden inside a layer.
        """
        head = self._maker.get(id(self._scored[0]))  # none where a dense layer takes the images
        if head and hasattr(head.operation, "class_map"):  # see `class_map.ClassMapHead`
            return head.inputs[-1]
        maps = self._maps()
        if not maps:
            raise ValueError(
                "`model` has no map (batch, height, width, channels) to explain. Class activation "
                "maps need a convolutional classifier, or a transformer."
            )
        behind = (
            False  # whether tokens were passed over: what lies before them is far from the head
        )
        for x in reversed(maps):
            if not self.all_pass(x, self._scored):
                continue
            if len(x.shape) == 4 and self._looks_like_the_image(x):
                if behind:
                    break
                return x
            if len(x.shape) == 3 and self._found_grid(x):
                if self._counts(x):
                    if behind and self._hidden_after(x):
                        break
                    return x
                behind = True
        raise ValueError(
            "`layer` must be given: the model has no map of the image near its head that "
            "everything passes on its way to the scores. The last of its maps are "
            f"{', '.join(self._last_names())}."
        )

    def in_order(self, feature_maps: Sequence[Any]) -> list[Any]:
        """Sort tensors in the order in which they are computed, and drop duplicates."""
        position = {id(x): i for i, step in enumerate(self._steps) for x in step.outputs}
        unique = {id(x): x for x in feature_maps}.values()
        return sorted(unique, key=lambda x: position[id(x)])

    def all_pass(self, x: Any, tensors: Sequence[Any], inputs: Sequence[Any] = ()) -> bool:
        """Tell whether every path from the images to ``tensors`` leads through ``x``.

        ``inputs`` are other inputs, whose paths must also lead through it.
        """
        sources = {id(source) for source in (self._images, *inputs)}
        return not any(id(y) in sources for y in graph.leading_to(self._maker, tensors, [x]))

    def _maps(self) -> list[Any]:
        if len(self._images.shape) != 4:
            return []
        return [
            step.outputs[0]
            for step in self._steps
            if len(step.outputs[0].shape) in (3, 4)
            and (len(step.outputs[0].shape) == 4 or self._found_grid(step.outputs[0]))
            and tuple(step.outputs[0].shape)[1:3] != (1, 1)
            and not isinstance(step.operation, _GLOBAL_POOLING)
            and all(step.outputs[0] is not x for x in self._scored)
        ]

    def _last_names(self) -> list[str]:
        return [self.name(x) for x in self._maps()[-8:]]

    def _by_path(self, name: Any) -> Any:
        """Return the tensor whose path ends in ``name``; None where there is none, or several."""
        paths = self._opened.names
        found = {id(x): x for path, x in paths.items() if path == name or path.endswith(f"/{name}")}
        return next(iter(found.values())) if len(found) == 1 else None

    @functools.cached_property
    def _sides(self) -> tuple[int, int]:
        return self._images.shape[1] or _SIDES[0], self._images.shape[2] or _SIDES[1]

    def _shape(self, x: Any) -> tuple[int | None, ...]:
        """Return the shape of a tensor of one image; of any size, of one of `_SIDES`."""
        if None not in x.shape[1:]:
            return tuple(x.shape)
        if id(x) not in self._shapes:
            self._shapes[id(x)] = self._traced_shape(x)
        return self._shapes[id(x)]

    @functools.cached_property
    def _shapes(self) -> dict[int, tuple[int | None, ...]]:
        return {}

    def _traced_shape(self, x: Any) -> tuple[int | None, ...]:
        others = [each for each in self._opened.model.inputs if each is not self._images]
        example = [keras.KerasTensor((1, *each.shape[1:]), each.dtype) for each in others]
        image = keras.KerasTensor((1, *self._sides, self._images.shape[3]), self._images.dtype)
        try:
            spec = keras.Model([self._images, *others], x).compute_output_spec([image, *example])
        except (TypeError, ValueError):
            return tuple(x.shape)
        return tuple(keras.tree.flatten(spec)[0].shape)

    def count(self, x: Any) -> int | None:
        """Return the number of tokens, None where it follows from the size of the images."""
        return x.shape[1] if None in self._images.shape[1:3] else self._shape(x)[1]

    def _found_grid(self, x: Any) -> tokens.Grid | None:
        if id(x) not in self._grids:
            sides = tuple(self._images.shape[1:3])
            maps = self._maps_before(x) if self.count(x) else ()
            self._grids[id(x)] = tokens.find_grid(self.count(x), sides, maps)
        return self._grids[id(x)]

    @functools.cached_property
    def _grids(self) -> dict[int, tokens.Grid | None]:
        return {}

    def _maps_before(self, x: Any) -> list[tokens.Grid]:
        """List the sizes of the maps, smaller than the image, that tokens are computed from."""
        return [
            tensor.shape[1:3]
            for tensor in graph.leading_to(self._maker, [x])
            if len(tensor.shape) == 4
            and None not in tensor.shape[1:3]
            and tensor.shape[1:3] not in ((1, 1), self._sides)
            # Not what was made of tokens, such as heads of attention.
            and (
                self._looks_like_the_image(tensor)
                or all(len(each.shape) != 3 for each in graph.leading_to(self._maker, [tensor]))
            )
        ]

    def _looks_like_the_image(self, x: Any) -> bool:
        """Tell whether height and width shrank alike; heads of attention and tokens do not."""
        height, width = self._shape(x)[1:3]
        if height is None or width is None:  # takes other sizes, which nobody can know
            return True
        shrunk = math.log2(self._sides[0] / height), math.log2(self._sides[1] / width)
        return min(shrunk) > -0.5 and abs(shrunk[0] - shrunk[1]) < 1

    def products_cancel(self, x: Any) -> bool:
        """Tell whether tokens times their gradients add up to zero in every patch.

        This happens if each token is normalised next, so that its length makes no difference.
        """
        if len(x.shape) != 3 or (tried := self._tried(x)) is None:
            return False
        values, gradients = tried
        product = values * gradients
        return bool((np.abs(product.sum(-1)) <= _CANCELLED * np.abs(product).sum(-1)).all())

    def _counts(self, x: Any) -> bool:
        """Tell whether the scores depend on tokens of patches, not on a class token alone."""
        tried = self._tried(x)
        return tried is not None and bool(tried[1].any())

    def _tried(self, x: Any) -> tuple[NDArray, NDArray] | None:
        """Return tokens (B, h, w, C) of random images and the gradient of random scores by them.

        None where they are not those of images, but of windows, say.
        """
        around = not self.all_pass(x, self._scored)
        tried = tokens_and_gradients(
            self._opened.model, self._images, x, self._scored, around=around
        )
        if tried is None:
            return None
        values, gradients = (np.asarray(tokens.to_map(y, self.grid(x))) for y in tried)
        return values, gradients

    def _hidden_after(self, x: Any) -> bool:
        """Tell whether a layer that could not be looked into follows a tensor."""
        closed = {id(layer) for layer in self._opened.closed}
        behind = graph.leading_to(self._maker, self._scored, [x])
        makers = (self._maker[id(y)] for y in behind if id(y) in self._maker)
        return any(id(step.operation) in closed for step in makers)

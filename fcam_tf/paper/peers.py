"""The CAM methods of other libraries as calls to time, where they are installed.

    pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
    pip install torchcam grad-cam tf-keras-vis xplique

The torch of PyPI brings triton, which crashes in a process with TensorFlow: both carry an LLVM.
torch-cam and pytorch-grad-cam run torchvision's resnet50 with the stride where keras-cv has it, in
the first convolution of a stage, and with strides removed as we remove them, so that all sides
compute the same. tf-keras-vis and xplique run our own classifiers. torch-cam returns maps as coarse
as the feature map, the others return them in the size of the image.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fcam_tf.models import Classifier

# Name of a library, of its method (as ours is called), and what makes the maps.
Peer = tuple[str, str, Callable[[], Any]]
_TORCH_CAM = {
    "cam": "CAM",
    "gradcam": "GradCAM",
    "gradcampp": "GradCAMpp",
    "smoothgradcampp": "SmoothGradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
}
_GRAD_CAM = {
    "gradcam": "GradCAM",
    "gradcampp": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "gradcamelementwise": "GradCAMElementWise",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
}  # without FullGrad, which takes minutes for eight images
_KERAS_VIS = {
    "gradcam": ("gradcam", "Gradcam"),
    "gradcampp": ("gradcam_plus_plus", "GradcamPlusPlus"),
    "layercam": ("layercam", "Layercam"),
}
_XPLIQUE = {"gradcam": "GradCAM", "gradcampp": "GradCAMPP"}
LIBRARIES: dict[str, tuple[str, Collection[str]]] = {  # and their modules and methods
    "torch-cam": ("torchcam", _TORCH_CAM),
    "pytorch-grad-cam": ("pytorch_grad_cam", _GRAD_CAM),
    "tf-keras-vis": ("tf_keras_vis", _KERAS_VIS),
    "xplique": ("xplique", _XPLIQUE),
}


def missing(methods: Collection[str]) -> list[str]:
    """Return those of `LIBRARIES` that have one of these methods and are not installed."""
    return [
        name
        for name, (module, theirs) in LIBRARIES.items()
        if not {*methods}.isdisjoint(theirs) and not importlib.util.find_spec(module)
    ]


def calls(
    classifier: Classifier, images: np.ndarray, failed: Callable[[str], Any]
) -> Iterator[Peer]:
    """Yield what is installed: for any backbone what runs in Keras, for resnet50 what is in torch.

    Args:
        classifier: without a baseline; of a resnet50, torch's is built like it.
        images: (B, H, W, 3) float32.
        failed: is told of a library that raises an error before it runs; the others follow.
    """
    found: dict[str, Callable[[], Iterator[Peer]]] = {
        "tf-keras-vis": lambda: _tf_keras_vis(classifier, images),
        "xplique": lambda: _xplique(classifier, images),
    }
    if classifier.backbone == "resnet50" and importlib.util.find_spec("torch"):
        # Each builds one, so that what goes wrong with one of them is nothing to the others.
        network = functools.partial(_resnet50, classifier, images)
        found["torch"] = lambda: _torch(network)
        found["torch-cam"] = lambda: _torch_cam(network)
        found["pytorch-grad-cam"] = lambda: _grad_cam(network)
    for library, peers in found.items():
        try:
            yield from peers()
        except Exception as error:  # noqa: BLE001 - code of others may raise anything
            failed(f"not timed: {library}: {error}")


def _resnet50(classifier: Classifier, images: np.ndarray) -> tuple[Any, Any]:
    """Return torch's network of the same layers, and what it takes for these images."""
    import torch  # noqa: PLC0415 - not among the dependencies
    from torchvision.models import resnet50  # noqa: PLC0415

    model = resnet50(num_classes=classifier.num_classes).eval()
    for reached, stage in ((8, model.layer2), (16, model.layer3), (32, model.layer4)):
        first, side = stage[0], 2 if reached <= classifier.output_stride else 1
        first.conv1.stride = first.downsample[0].stride = (side, side)
        first.conv2.stride = (1, 1)
    return model, torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _torch(network: Callable[[], tuple[Any, Any]]) -> Iterator[Peer]:
    import torch  # noqa: PLC0415

    model, batch = network()

    def forward() -> np.ndarray:
        with torch.inference_mode():
            return model(batch).numpy()

    yield "torch", "forward", forward


def _torch_cam(network: Callable[[], tuple[Any, Any]]) -> Iterator[Peer]:
    try:
        from torchcam import methods  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    model, batch = network()

    def call(kind: Any) -> np.ndarray:
        # The hooks of one method would run for the next, too.
        with kind(model, model.layer4) as extractor:
            maps = extractor([0] * len(batch), model(batch))
        return maps[0].numpy()

    for name, theirs in _TORCH_CAM.items():
        yield "torch-cam", name, functools.partial(call, getattr(methods, theirs))


def _grad_cam(network: Callable[[], tuple[Any, Any]]) -> Iterator[Peer]:
    try:
        import pytorch_grad_cam  # noqa: PLC0415
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    model, batch = network()
    targets = [ClassifierOutputTarget(0)] * len(batch)

    def call(kind: Any) -> np.ndarray:
        with kind(model, [model.layer4]) as extractor:
            return extractor(batch, targets)

    for name, theirs in _GRAD_CAM.items():
        kind = getattr(pytorch_grad_cam, theirs)
        yield "pytorch-grad-cam", name, functools.partial(call, kind)


def _tf_keras_vis(classifier: Classifier, images: np.ndarray) -> Iterator[Peer]:
    try:
        from tf_keras_vis.utils.scores import CategoricalScore  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    score = CategoricalScore([0] * len(images))
    for name, (module, kind) in _KERAS_VIS.items():
        method = getattr(importlib.import_module(f"tf_keras_vis.{module}"), kind)
        explain = method(classifier, clone=False)
        layer = _top_layer(classifier)
        yield (
            "tf-keras-vis",
            name,
            functools.partial(explain, score, images, penultimate_layer=layer),
        )


def _xplique(classifier: Classifier, images: np.ndarray) -> Iterator[Peer]:
    try:
        from xplique import attributions  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    targets = np.eye(classifier.num_classes, dtype="float32")[[0] * len(images)]
    for name, theirs in _XPLIQUE.items():
        explain = getattr(attributions, theirs)(classifier, conv_layer=_top_layer(classifier))
        yield "xplique", name, functools.partial(explain, images, targets)


def _top_layer(classifier: Classifier) -> str:
    top = classifier.feature_maps["P5"]
    return next(layer.name for layer in reversed(classifier.layers) if layer.output is top)

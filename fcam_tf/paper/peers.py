"""The CAM methods of torch-cam and pytorch-grad-cam as calls to time, where they are installed.

    pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
    pip install torchcam grad-cam

The torch of PyPI brings triton, which crashes in a process with TensorFlow: both carry an LLVM.
Both run torchvision's resnet50 with the stride where keras-cv has it, in the first convolution of
a stage, and with strides removed as we remove them, so that all sides compute the same. torch-cam
returns maps as coarse as the feature map, pytorch-grad-cam returns them in the size of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

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


def calls(
    images: np.ndarray, classes: int, output_stride: int
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield name and call of the forward pass and of each method.

    Args:
        images: (B, H, W, 3) float32.
        classes: of the resnet50.
        output_stride: 8, 16 or 32 input pixels for one cell of its top map.

    Raises:
        ModuleNotFoundError: torch or torchvision is not installed.
    """
    import torch  # noqa: PLC0415 - not among the dependencies

    model = _resnet50(classes, output_stride)
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def forward() -> np.ndarray:
        with torch.inference_mode():
            return model(batch).numpy()

    yield "torch: forward pass", forward
    yield from _torch_cam(model, batch)
    yield from _grad_cam(model, batch)


def _resnet50(classes: int, output_stride: int) -> Any:
    from torchvision.models import resnet50  # noqa: PLC0415

    model = resnet50(num_classes=classes).eval()
    for reached, stage in ((8, model.layer2), (16, model.layer3), (32, model.layer4)):
        first, side = stage[0], 2 if reached <= output_stride else 1
        first.conv1.stride = first.downsample[0].stride = (side, side)
        first.conv2.stride = (1, 1)
    return model


def _torch_cam(model: Any, batch: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    try:
        from torchcam import methods  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    def call(kind: Any) -> np.ndarray:
        # The hooks of one method would run for the next, too.
        with kind(model, model.layer4) as extractor:
            maps = extractor([0] * len(batch), model(batch))
        return maps[0].numpy()

    for name, theirs in _TORCH_CAM.items():
        yield f"torch-cam: {name}", functools.partial(call, getattr(methods, theirs))


def _grad_cam(model: Any, batch: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    try:
        import pytorch_grad_cam  # noqa: PLC0415
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: PLC0415
    except ModuleNotFoundError:
        return

    targets = [ClassifierOutputTarget(0)] * len(batch)

    def call(kind: Any) -> np.ndarray:
        with kind(model, [model.layer4]) as extractor:
            return extractor(batch, targets)

    for name, theirs in _GRAD_CAM.items():
        kind = getattr(pytorch_grad_cam, theirs)
        yield f"pytorch-grad-cam: {name}", functools.partial(call, kind)

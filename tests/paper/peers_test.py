import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fcam_tf.models import Classifier
from fcam_tf.paper import peers


@pytest.fixture
def install(monkeypatch):
    """Put a module in the place of an installed one; all others are not installed."""
    for name, _ in peers.LIBRARIES.values():
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(peers.importlib.util, "find_spec", sys.modules.get)

    def put(name, **attributes):
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)

    return put


def test_what_is_not_installed_is_left_out(install, tiny_backbone):
    classifier = Classifier(tiny_backbone, 3, weights=None)
    images = np.zeros((1, 32, 32, 3), "float32")
    assert list(peers.calls(classifier, images, pytest.fail)) == []
    assert peers.missing(["gradcam"]) == list(peers.LIBRARIES)
    # What no library has, none is missed for.
    assert peers.missing(["xgradcam", "fcam"]) == ["torch-cam", "pytorch-grad-cam"]
    assert peers.missing(["fcam", "acol"]) == []
    install("xplique")
    assert "xplique" not in peers.missing(["gradcam"])


def test_keras_libraries_explain_the_first_class_by_the_top_map(install, tiny_backbone):
    classifier = Classifier(tiny_backbone, 3, weights=None)
    images = np.zeros((2, 32, 32, 3), "float32")
    asked = []

    def method(model, **options):
        assert model is classifier
        return lambda *given, **more: asked.append((*given, options, more))

    kinds = dict.fromkeys(("Gradcam", "GradcamPlusPlus", "Layercam"), method)
    install("tf_keras_vis")
    for name in ("gradcam", "gradcam_plus_plus", "layercam"):
        install(f"tf_keras_vis.{name}", **kinds)
    install("tf_keras_vis.utils")
    install("tf_keras_vis.utils.scores", CategoricalScore=tuple)
    install("xplique", attributions=SimpleNamespace(GradCAM=method, GradCAMPP=method))
    found = list(peers.calls(classifier, images, pytest.fail))
    assert [(library, name) for library, name, _ in found] == [
        *(("tf-keras-vis", name) for name in ("gradcam", "gradcampp", "layercam")),
        *(("xplique", name) for name in ("gradcam", "gradcampp")),
    ]
    for _, _, call in found:
        call()
    assert asked[0] == ((0, 0), images, {"clone": False}, {"penultimate_layer": "relu5"})
    assert asked[3][2:] == ({"conv_layer": "relu5"}, {})
    assert asked[3][1].tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_library_that_raises_is_told_and_the_others_follow(install, tiny_backbone):
    def broken(*_):
        raise FileNotFoundError(2, "No such file or directory", "weights")

    install("tf_keras_vis")
    install("tf_keras_vis.utils")
    install("tf_keras_vis.utils.scores", CategoricalScore=broken)
    methods = dict.fromkeys(("GradCAM", "GradCAMPP"), lambda *_, **__: print)
    install("xplique", attributions=SimpleNamespace(**methods))
    told = []
    classifier = Classifier(tiny_backbone, 3, weights=None)
    found = peers.calls(classifier, np.zeros((1, 32, 32, 3)), told.append)
    assert [library for library, *_ in found] == ["xplique", "xplique"]
    assert told == ["not timed: tf-keras-vis: [Errno 2] No such file or directory: 'weights'"]


def test_torch_libraries_do_without_each_other(install):
    """Each builds a network of its own, and what one of them raises is told of it alone."""
    networks = []

    def resnet50(num_classes):
        first = SimpleNamespace(conv1=SimpleNamespace(), conv2=SimpleNamespace())
        first.downsample = [SimpleNamespace()]
        stages = {f"layer{n}": [first] for n in (2, 3, 4)}
        networks.append(SimpleNamespace(**stages, classes=num_classes))
        networks[-1].eval = lambda: networks[-1]
        return networks[-1]

    install("torch", from_numpy=lambda images: images)
    install("torchvision")
    install("torchvision.models", resnet50=resnet50)
    install("torchcam", methods=SimpleNamespace())  # another version, without these methods
    methods = dict.fromkeys(peers._GRAD_CAM.values(), print)
    install("pytorch_grad_cam", **methods)
    install("pytorch_grad_cam.utils")
    install("pytorch_grad_cam.utils.model_targets", ClassifierOutputTarget=str)
    classifier = SimpleNamespace(backbone="resnet50", num_classes=7, output_stride=8)
    told = []
    found = list(peers.calls(classifier, np.zeros((2, 32, 32, 3), "float32"), told.append))
    names = [(library, name) for library, name, _ in found]
    assert names[0] == ("torch", "forward")
    assert names[1:] == [("pytorch-grad-cam", name) for name in peers._GRAD_CAM]
    (line,) = told
    assert line.startswith("not timed: torch-cam: ")
    assert [network.classes for network in networks] == [7, 7, 7]
    assert networks[0].layer3[0].conv1.stride == (1, 1)

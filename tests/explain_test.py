import pytest

from fcam_tf.explain import Explainer
from fcam_tf.models import Classifier


@pytest.mark.parametrize(("name", "method"), [("acol", "acol"), ("has", "layercam")])
def test_a_head_that_makes_maps_explains_itself(name, method):
    classifier = Classifier("vgg16", 3, weights=None, input_size=96, baseline=name)
    explainer = Explainer(classifier)
    assert explainer.method == method
    assert (explainer.num_classes, explainer.image_size) == (3, (96, 96))
    assert Explainer(classifier, "cam" if name == "has" else name).layer == "P5"

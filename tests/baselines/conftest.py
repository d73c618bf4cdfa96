import pytest

# The backbones that all baselines are set up for: one in the quick tests, the others in the long.
BACKBONES = (
    "vgg16",
    pytest.param("efficientnetlite_b0", marks=pytest.mark.slow),
    pytest.param("resnet50", marks=pytest.mark.slow),
    pytest.param("inceptionv3", marks=pytest.mark.slow),
)

import pytest

from fcam_tf.ops import loader


@pytest.fixture(params=["native", "tensorflow"])
def backend(request, monkeypatch):
    """Run a test with the compiled operations and with TensorFlow's."""
    loader.library.cache_clear()
    loader.on_gpu.cache_clear()
    monkeypatch.setenv("FCAM_OPS", request.param)
    yield request.param
    loader.library.cache_clear()
    loader.on_gpu.cache_clear()

import os
import subprocess
import sys

import pytest

from fcam_tf import lazy_tensorflow as tf


def test_nothing_is_loaded_before_it_is_used(tmp_path):
    (tmp_path / "tensorflow.py").write_text("Tensor = 1")  # itself, it takes seconds to load
    code = (
        "import sys; from fcam_tf import lazy_tensorflow as tf; print('tensorflow' in sys.modules);"
        "tf.Tensor; print('tensorflow' in sys.modules)"
    )
    paths = os.pathsep.join(map(str, (tmp_path, *sys.path)))
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("jit", [False, True])
def test_tells_xla(jit):
    seen = []

    @tf.function(jit_compile=jit)
    def traced(x):
        seen.append(tf.is_traced_for_xla())
        return x

    traced(tf.constant(1.0))
    assert seen == [jit]
    assert not tf.is_traced_for_xla()

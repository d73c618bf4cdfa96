from types import SimpleNamespace

import pytest

from tests.evaluation.conftest import finished, shapes  # noqa: F401
from tests.report.conftest import perfect  # noqa: F401


@pytest.fixture
def study_of(shapes, tmp_path):  # noqa: F811
    """Return what makes a study of finished evaluations: of methods, and of F-CAM on them."""

    def make(method, fcam):
        return SimpleNamespace(
            root=str(shapes),
            out=tmp_path,
            tell=print,
            check=lambda _: None,
            missing=[],
            score=lambda cell: fcam if cell.variant else method,
        )

    return make

from tests.evaluation.conftest import finished, shapes  # noqa: F401
from tests.report.conftest import perfect  # noqa: F401

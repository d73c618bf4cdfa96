import pytest


@pytest.fixture
def plain_report(monkeypatch):
    """Write reports without figures, which take seconds; tests/report looks at those."""

    def write_report(run, *others):
        file = run.out / "report.html"
        file.write_text(" ".join(each.settings.title for each in (run, *others)))
        return file

    monkeypatch.setattr("fcam_tf.report.write_report", write_report)

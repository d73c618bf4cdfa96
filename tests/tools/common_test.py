import pytest

from tools import common


def test_calls_are_timed_by_turns():
    order = []
    found = common.times({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == list("ab" * 4)  # once to warm up
    assert [len(found[name]) for name in "ab"] == [3, 3]
    assert min(*found["a"], *found["b"]) >= 0


def test_scores_are_means_and_deviations(capsys):
    common.print_scores("title", {"one": [{"x": 1.0}, {"x": 3.0}], "two": [{"x": 5.0}, {"x": 5.0}]})
    shown = capsys.readouterr().out
    assert "2.0 ± 1.4" in shown
    assert "5.0 ± 0.0" in shown
    common.print_scores("title", {"one": [{"x": 1.25}]})
    assert "±" not in capsys.readouterr().out


def test_what_is_no_flag_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tool", "what"])
    with pytest.raises(SystemExit):
        common.start(lambda: pytest.fail("was run"))
    assert "unexpected arguments: ['what']" in capsys.readouterr().err

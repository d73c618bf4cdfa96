import sys
from pathlib import Path

import numpy as np
import pytest

from tests.ops.examples import photos, soft_maps

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from tools import check_cuda


class Engine:
    """The oracle in the place of a lattice, its results times what each run gives."""

    def __init__(self, *factors):
        self.factors = iter(factors)

    def put(self, case):
        self.factor = next(self.factors, 1.0)
        return case

    def filter(self, case, transpose):
        return [self.factor * check_cuda._oracle(case, transpose)[0]]

    def loss(self, case, symmetric):
        return [self.factor * part for part in check_cuda._oracle(case, symmetric)[1:3]]

    def mean_field(self, case, with_matrix):
        return [self.factor * check_cuda._oracle(case, with_matrix)[3]]


@pytest.fixture(autouse=True)
def one_case(monkeypatch):
    images = photos(64)[:1, 20:29, 30:41]
    maps = soft_maps(np.random.default_rng(0), 1, 9, 11, 2)
    case = check_cuda.Case("photos", images, maps, (15.0, 50.0))
    monkeypatch.setattr(check_cuda, "_cases", lambda _: [case])


def test_what_agrees_holds(capsys):
    assert check_cuda.compare(Engine(*[1 + 1e-7] * 4), Engine(), 0)
    assert "FAILED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpu", "cpu", "verdict"),
    [
        ([1 + 1e-3] * 4, [], "FAILED"),  # from the CPU's lattice
        ([np.nan] * 4, [], "FAILED"),
        ([1.1] * 4, [1.1] * 2, "FAILED"),  # both from the oracle
        ([1, 1, 1, 1 + 1e-7], [], "two runs differ"),
    ],
)
def test_what_does_not_agree_is_found(capsys, gpu, cpu, verdict):
    assert not check_cuda.compare(Engine(*gpu), Engine(*cpu), 0)
    assert verdict in capsys.readouterr().out

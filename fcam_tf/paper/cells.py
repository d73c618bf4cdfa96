"""The cells of a table, worked off one by one, beside other processes in the same folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from fcam_tf.claim import FolderBusyError

T = TypeVar("T")
PAUSE = 5.0  # seconds between looks at what another process holds


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training and its scores, of which a table shows the mean over the seeds.

    Attributes:
        backbone: name of the backbone; empty for `names.CENTER`, which has no network.
        method: the CAM method or baseline whose map is scored or teaches, `names.FSL` or
            `names.CENTER`.
        seed: of the trainings.
        variant: name of the F-CAM on top of it; empty for the method's own map.
        settings: KEY=VALUE of that F-CAM's recipe, besides those of the study.
    """

    backbone: str
    method: str
    seed: int = 0
    variant: str = ""
    settings: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The cell for people: "resnet50, layercam + F-CAM, seed 0"."""
        fcam = f" + {self.variant}" if self.variant else ""
        seed = f", seed {self.seed}" if self.backbone else ""
        return f"{self.backbone}{', ' * bool(self.backbone)}{self.method}{fcam}{seed}"


def work_off(
    cells: Sequence[Cell],
    score: Callable[[Cell], T],
    tell: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
) -> dict[Cell, T]:
    """Score cells in their order; one that another process holds is left for later.

    When only such cells are left, this waits for them. A cell whose training diverges is told, and
    has no score; its training is tried again in the next run.

    Args:
        cells: what is scored.
        score: scores a cell, or recalls its score if it is finished.
        tell: is told what goes on, line by line.
        wait: pauses for some seconds.

    Returns:
        The scores, in the order of the cells.

    Raises:
        RuntimeError: there is not a single score.
    """
    found: dict[Cell, T] = {}
    pending, told = list(dict.fromkeys(cells)), ""
    total, done = len(pending), 0
    while pending:
        busy = []
        for cell in pending:
            try:
                found[cell] = score(cell)
                result = "done"
            except FolderBusyError:
                busy.append(cell)
                continue
            except ArithmeticError as error:  # TrainingDivergedError
                result = str(error)
            done += 1
            tell(f"{done} of {total}: {cell.told}: {result}")
        if busy == pending:
            if told != busy[0].told:
                told = busy[0].told
                tell(f"waiting for another process: {told}")
            wait(PAUSE)
        pending = busy
    if cells and not found:
        raise RuntimeError("nothing was measured, as every training diverged; lower learning_rate")
    return {cell: found[cell] for cell in cells if cell in found}

"""The report of a run on the test split, which needs no model where it is there already."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import fcam_tf
from fcam_tf import data, evaluation
from fcam_tf.identity import saved_sha256
from fcam_tf.names import FCAM_MAP

if TYPE_CHECKING:
    from rich.console import Console

    from fcam_tf.training.run_folder import RunFolder


def report(
    run: RunFolder,
    root: str,
    console: Console,
    *,
    skip_broken: bool = False,
    tell: Callable[[str], object] = print,
) -> Path | None:
    """Evaluate the chosen model on the test split, as ``fcam evaluate`` does, into ``RUN/test``.

    Args:
        run: a finished run.
        root: the data set.
        console: where the progress bar goes.
        skip_broken: decode all photos first, and leave out those that cannot be decoded.
        tell: is told which these are.

    Returns:
        The page, or None where there is no ground truth to test by.

    Raises:
        OSError, RuntimeError, TypeError, ValueError: see `fcam_tf.evaluation.Evaluation`.
    """
    from fcam_tf.report import write_report  # noqa: PLC0415 - matplotlib

    try:
        split = data.load(root, "test")
    except FileNotFoundError:
        return None
    if split.boxes is None and split.masks is None:
        return None
    method = run.settings["method"] if run.settings["stage"] == "classifier" else FCAM_MAP
    left_out = data.left_out(split, tell) if skip_broken else ()
    out = run.folder / "test"
    return write_report(evaluated(run, root, method, out, console=console, left_out=left_out))


def evaluated(
    run: RunFolder,
    root: str,
    method: str,
    out: Path,
    *,
    console: Console | None = None,
    left_out: Sequence[str] = (),
) -> evaluation.StoredEvaluation:
    """Evaluate the chosen model on the test split; another test split's results are replaced.

    Args:
        run: a finished run.
        root: the data set.
        method: whose maps are scored.
        out: folder of the evaluation.
        console: where the progress bar goes; None shows none.
        left_out: names of images that are not looked at.

    Raises:
        OSError, RuntimeError, TypeError, ValueError: see `fcam_tf.evaluation.Evaluation`.
    """
    asked = evaluation.EvaluationSettings(
        method=method,
        data=data.absolute(root),
        split="test",
        model=str(run.folder.resolve()),
        model_sha256=saved_sha256(run.best),
        labels="",
        left_out=list(left_out),
    )
    evaluate = functools.partial(
        evaluation.Evaluation,
        lambda: fcam_tf.models.load(run.best),  # TensorFlow, if there is something to do
        asked,
        out,
    )
    try:
        job = evaluate()
    except evaluation.SettingsChangedError:  # the test split is another now
        job = evaluate(overwrite=True)
    return job.run(console=console)

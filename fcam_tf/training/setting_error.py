"""A setting that does not fit the model or the data, told with the flag that changes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class SettingError(ValueError):
    """A recipe has a setting with which this model, or this split, cannot be trained.

    Args:
        problem: which setting, why not, and what it must be.
        setting: KEY=VALUE that fits.
        flag: by which a command is given that.
    """

    def __init__(self, problem: str, setting: str, flag: str = "--set") -> None:
        super().__init__(f"{problem} In a command: {flag} {setting}.")
        self.problem = problem
        self.setting = setting


@contextlib.contextmanager
def told_by_stage(stage: str) -> Iterator[None]:
    """Name the flag of a stage in errors of settings, for commands that train several stages."""
    try:
        yield
    except SettingError as error:
        if stage != "classifier":
            raise
        raise SettingError(error.problem, error.setting, "--classifier-set") from None

"""Requests that are not answered, and why."""

from __future__ import annotations


class BadRequestError(ValueError):
    """What was sent cannot be answered; the message says why."""


class RefusedError(Exception):
    """A request that is not answered, with the status and words of the refusal."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status

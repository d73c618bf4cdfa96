"""The machines that TF_CONFIG names, read without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}, with another index on each machine, or be unset'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Several machines, and which of them this is.

    Attributes:
        addresses: of all, ``host:port``; the first is the one that writes the run.
        index: our place among them.
    """

    addresses: tuple[str, ...]
    index: int


def cluster_of(text: str | None) -> Cluster | None:
    """Return the machines that the value of TF_CONFIG names; None where it names fewer than two.

    Args:
        text: the value of the environment variable; None where it is not set.

    Raises:
        ValueError: it is not what TensorFlow reads, or names machines that do not train together
            as equals (parameter servers, evaluators).
    """
    if not (text or "").strip():
        return None
    try:
        found = json.loads(text or "")
        jobs, task = found.get("cluster") or {}, found.get("task") or {}
        tasks = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job, ())))]
        if len(tasks) < 2 and not {*jobs} - {"chief", "worker"}:
            return None
        index = tasks.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreadable(text) from None
    if {*jobs} - {"chief", "worker"}:
        raise _unreadable(text)
    return Cluster(tuple(_address(jobs[job][i]) for job, i in tasks), index)


def _address(value: Any) -> str:
    if not (isinstance(value, str) and value.rpartition(":")[2].isdigit()):
        raise _unreadable(value)
    return value


def _unreadable(value: Any) -> ValueError:
    return ValueError(
        f"`TF_CONFIG` must name workers and which of them this is, as {_EXAMPLE}. "
        f"Received: {str(value)[:200]!r}."
    )

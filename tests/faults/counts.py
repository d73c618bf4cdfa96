"""How often each scenario was disturbed in each way, added up over several sittings."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


class Counts:
    """The counts of a file of JSON lines, one for each round, or of this sitting alone.

    Args:
        file: where rounds are recorded; made if it is not there.

    Attributes:
        rounds: how many are recorded.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file, self.rounds = file, 0
        self._counts: Counter[tuple[str, str]] = Counter()
        if file and file.exists():
            for line in file.read_text("utf-8").splitlines():
                self._count(**json.loads(line))

    def add(self, scenario: str, fault: str, times: int) -> None:
        """Record a round, at once: a sitting may be ended at any moment."""
        self._count(scenario, fault, times)
        if self._file:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(
                    f"{json.dumps({'scenario': scenario, 'fault': fault, 'times': times})}\n"
                )

    def of(self, scenario: str, fault: str | None = None) -> int:
        """Return how often a scenario was disturbed, in one way or in all."""
        faults = [fault] if fault else [name for where, name in self._counts if where == scenario]
        return sum(self._counts[scenario, name] for name in faults)

    def table(self, scenarios: Iterable[str], faults: Iterable[str]) -> str:
        """Return a table in Markdown, "-" for never, without the scenarios that never were."""
        columns = list(faults)
        rows = [
            [name, *(str(self.of(name, fault) or "-") for fault in columns)]
            for name in scenarios
            if self.of(name)
        ]
        head = [["command", *columns], ["---"] * (1 + len(columns))]
        return "".join(f"| {' | '.join(row)} |\n" for row in head + rows)

    def _count(self, scenario: str, fault: str, times: int) -> None:
        self._counts[scenario, fault] += times
        self.rounds += 1

"""A loop of queries that was found, as people and programs read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from perfkit.loading.guard.kinds import Kind


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement that was sent for row after row.

    Attributes:
        kind: What the statement was for.
        name: `app.Model.relation` or `app.Model`; empty for raw SQL.
        lines: `file:line` of the project's own calls that led to it, innermost first.
        functions: Their functions, `module.function`; empty for a line of a template.
        statement: The SQL without any value, shortened.
        fix: What to write instead.
        queries: How many times it was sent.
        milliseconds: How long these took together, the first one aside.
    """

    kind: Kind
    name: str
    lines: tuple[str, ...]
    functions: tuple[str, ...]
    statement: str
    fix: str
    queries: int
    milliseconds: float

    def __str__(self) -> str:
        where = self.lines[0] if self.lines else "-"
        by = f" (called from {self.lines[1]})" if len(self.lines) > 1 else ""
        subject = f"{self.name}, " if self.name else ""
        return (
            f"N+1: {self.queries} queries for {subject}{self.kind} at {where}{by}\n"
            f"  Fix: {self.fix}\n"
            f"  {self.statement}"
        )

    @property
    def short(self) -> str:
        """One line without the SQL, in ASCII where the project's names are."""
        return f"{self.name or self.kind.value} x{self.queries} at {self.lines[0] if self.lines else '-'}"

    def as_json(self) -> str:
        """Return it as one line of JSON, which `from_json` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Finding:
        """Return the finding of one line.

        Raises:
            ValueError: The line is not one that `as_json` wrote.
        """
        try:
            values = json.loads(line)
            return cls(
                **{
                    **values,
                    "kind": Kind(values["kind"]),
                    "lines": tuple(values["lines"]),
                    "functions": tuple(values["functions"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a recorded finding: {error}") from error

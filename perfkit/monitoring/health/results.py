"""What checks find, what a probe comes to, and how both are written. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class Status(enum.StrEnum):
    """How something stands: well, well enough to go on, or not."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; the message is for those who run the site, and has no secret in it."""

    status: Status = Status.OK
    message: str = ""


def degraded(message: str) -> Finding:
    """Return what a check returns where something is worse than it should be, and requests are still served."""
    return Finding(Status.DEGRADED, message)


def failed(message: str) -> Finding:
    """Return what a check returns where it has failed; to raise anything does the same."""
    return Finding(Status.FAILED, message)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check came to in a probe.

    Attributes:
        name: Such as `cache`, or `database.default` where there may be several.
        seconds: How long it took, or has taken so far.
    """

    name: str
    status: Status
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks of a probe came to."""

    checks: tuple[CheckResult, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of all."""
        found = {check.status for check in self.checks}
        return next((status for status in (Status.FAILED, Status.DEGRADED) if status in found), Status.OK)

    def is_well(self, family: str) -> bool:
        """Say whether there were checks of a family, such as `database`, and all were well."""
        found = [check.status for check in self.checks if check.name.partition(".")[0] == family]
        return bool(found) and set(found) == {Status.OK}

    def as_dict(self, *, has_details: bool) -> dict[str, Any]:
        """Return it as JSON has it; without details the status alone."""
        if not has_details:
            return {"status": self.status.value}
        checks = [
            {
                "name": check.name,
                "status": check.status.value,
                "seconds": round(check.seconds, 4),
                "message": check.message,
            }
            for check in self.checks
        ]
        return {"status": self.status.value, "checks": checks}

    def as_text(self, *, has_details: bool) -> str:
        """Return it as lines: the status, and then the checks, where details are wanted."""
        return "\n".join([self.status.value, *(self._lines() if has_details else ())]) + "\n"

    def _lines(self) -> Iterator[str]:
        widths = [max((len(text) for text in column), default=0) for column in self._columns()]
        for check in self.checks:
            name, status = f"{check.name:<{widths[0]}}", f"{check.status.value:<{widths[1]}}"
            yield f"{name}  {status}  {check.seconds:7.4f} s  {check.message}".rstrip()

    def _columns(self) -> tuple[list[str], list[str]]:
        return [check.name for check in self.checks], [check.status.value for check in self.checks]

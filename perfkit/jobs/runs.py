"""The job that runs at this moment: how far it is, where it began again, and whether it is to stop."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from perfkit.errors import JobCancelledError, JobFencedError
from perfkit.jobs.rows import Mark, Taken
from perfkit.making import own_of_a_run

LARGEST: Final = 2**63 - 1
MESSAGE_CHARACTERS: Final = 255


class JobRun:
    """One run of a job.

    Attributes:
        id: The job's.
        number: 1 for its first run, 2 where it was tried again or its worker was lost.
        checkpoint: What the last committed step has yielded; None where none was.
    """

    def __init__(self, taken: Taken, *, lease_seconds: float) -> None:
        self.id = taken.id
        self.number = taken.fence
        self.checkpoint = taken.checkpoint
        self.mark = taken.mark  # until it tells one of its own
        self.lease_seconds = lease_seconds
        self._fence = taken.fence
        self._is_cancel_wanted = taken.is_cancel_wanted
        self._is_lost = False

    @property
    def fence(self) -> int:
        """The number under which this run must end its job."""
        return self._fence

    @property
    def is_cancel_wanted(self) -> bool:
        """Whether somebody wants it to stop, as far as this process knows."""
        return self._is_cancel_wanted

    def progress(self, current: int, total: int, message: str = "") -> None:
        """Tell how far the job is; others see it within a second, or with the next step.

        Costs next to nothing, and fails the job never: it is written down by another thread.

        Args:
            current: Steps done.
            total: All steps.
            message: What is being done, for people; 255 characters are kept.

        Raises:
            JobCancelledError, JobFencedError: As `check`.
        """
        self.mark = Mark(_number(current), _number(total), _text(message))
        self.check()

    def check(self) -> None:
        """Go on only if the job is still wanted, and still this run's.

        Raises:
            JobCancelledError: Somebody has cancelled it; clean up and let it through.
            JobFencedError: The lease has ended, and somebody else has it; nothing of this can be committed.
        """
        if self._is_lost:
            raise JobFencedError(str(self.id))
        if self._is_cancel_wanted:
            raise JobCancelledError(str(self.id))

    def tell_cancelled(self) -> None:
        """Have the run stop where it next looks."""
        self._is_cancel_wanted = True

    def tell_lost(self) -> None:
        """Have the run give up where it next looks."""
        self._is_lost = True


def _number(value: int) -> int:
    return max(-LARGEST, min(int(value), LARGEST))


def _text(value: object) -> str:
    """Return a text that every database takes: of a file's name, say, which may be none."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "")[:MESSAGE_CHARACTERS]


_current: Final[ContextVar[JobRun | None]] = own_of_a_run(ContextVar("perfkit_job_run", default=None))


def current_run() -> JobRun | None:
    """Return the job that this code is run by, None outside of jobs."""
    return _current.get()


def entered(run: JobRun) -> Any:
    """Make a run the current one; return what `left` wants."""
    return _current.set(run)


def left(token: Any) -> None:
    """Make what was before the current one."""
    _current.reset(token)

"""When a job that has failed is tried again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, after which errors, and how long to wait before.

    Attributes:
        most: Tries after the first.
        errors: Only these and their subclasses.
        backoff_seconds: The wait before the second try is about that, and each one after it twice as long.
        longest_seconds: No wait is longer.
    """

    most: int = 0
    errors: tuple[type[BaseException], ...] = ()
    backoff_seconds: float = 2.0
    longest_seconds: float = 600.0

    def are_left(self, error: BaseException, *, failures: int) -> bool:
        """Say whether to try again after this error, with so many failures before it."""
        return failures < self.most and isinstance(error, self.errors)

    def delay_seconds(self, failures: int, *, chance: float | None = None) -> float:
        """Return how long to wait after the first failure (0), the second (1), and so on.

        Between half the wait and all of it, so that what has failed together does not come back together.

        Args:
            chance: 0 to 1, in the place of a random number.

        Example:
            >>> [Retries(backoff_seconds=2.0, longest_seconds=10).delay_seconds(n, chance=1.0) for n in range(4)]
            [2.0, 4.0, 8.0, 10.0]

        Source:
            AWS Architecture Blog, "Exponential Backoff And Jitter": equal jitter.
        """
        wait = min(self.longest_seconds, self.backoff_seconds * 2.0 ** min(failures, MOST_DOUBLINGS))
        return wait * (0.5 + 0.5 * (random.random() if chance is None else chance))  # noqa: S311

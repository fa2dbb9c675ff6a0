"""One soak: servers, processes and faults brought together, until the time is over and each fault has happened."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final

import redis

from project.services.state import LOOPBACK
from tests.caching.processes import way_to_database
from tests.plugins.valkey import DisposableValkey
from tests.soak.board import Phase
from tests.soak.crew import Crew, Member
from tests.soak.disturbances import DISTURBANCES
from tests.soak.plot import BOUND_SECONDS
from tests.soak.proxy import Proxy
from tests.soak.recovery import Progress, reads_in
from tests.soak.report import Plan, Recovery, Report
from tests.soak.stage import LEASE_MS, MOST_TIMES, furnish, members, plot_of

POLL_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 30
"""For anything that must happen: longer means that it does not."""

MEASURED_SECONDS: Final = 0.7
"""After a recovery, for the hit rate."""

OUTBOX_WRITES_OF_EACH: Final = 2
"""Of those that are cut off; many writes rely on each."""

LEAST_CUT_SECONDS: Final = 1.5
"""Longer than others may be stale where the policy is not to wait."""

FAULTS_SHOWN_AFTER_SECONDS: Final = 0.5
"""After the first one: what else goes wrong tells more."""


class Stopped(Exception):  # noqa: N818  # an early end, with its reason on the board
    """There is a fault, or a crash: the run need not go on."""


class Impatient(Exception):  # noqa: N818  # likewise, and the argument says what did not happen
    """Something that must happen did not."""


class Soak:
    """A run on Django's database, which has tables and no rows. What disturbances may use is public.

    Args:
        server: The cache server, which runs; it is killed and started at will, and runs at the end.
        tell: Told one line for each thing that people should see while it runs.
    """

    def __init__(self, plan: Plan, *, server: DisposableValkey, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._disturbances: Mapping[str, Callable[[Any], None]] = DISTURBANCES
        self._tell = tell
        self._random = random.Random(f"{plan.seed} faults")
        self._events: list[tuple[float, str]] = []
        self._recoveries: list[Recovery] = []
        self._next_kill = 0.0
        self._uses_when_killed: dict[int, int] = {}
        self._kinds_of_kills = self._shuffled_for_ever(plan.kills)
        self.server = server

    def run(self) -> Report:
        """Run it to its end."""
        folder = Path(tempfile.mkdtemp(prefix="perfkit-soak-"))
        self._began = time.monotonic()
        unproved = []
        with ExitStack() as stack:
            url, cut_off_url = self._ways(stack)
            plot = plot_of(self._plan, database=way_to_database(), folder=folder)
            self._board = plot.board()
            roles = members(self._plan, redis_url=url, cut_off_url=cut_off_url)
            self._crew = Crew(plot, self._board, roles, self._note, self._random)
            stack.callback(self._crew.end)
            furnish(self._board)
            self._crew.start()
            try:
                self._disturb_and_kill()
                self._sweep()
            except Stopped:
                self._linger()
            except Impatient as impatience:
                unproved.append(str(impatience))
        faults = [*_faults_in(folder), *({"problem": text} for text in self._crew.crashes)]
        report = self._report(faults=faults, unproved=unproved)
        if not report.shortcomings():
            shutil.rmtree(folder)
        else:
            self._tell(f"The logs of the processes are in {folder}.")
        return report

    # What disturbances use.

    def tend(self) -> None:
        """Look after the processes; kill one if it is time.

        Raises:
            Stopped: A process has found a fault, or crashed.
        """
        self._crew.tend()
        if self._board.has_faults or self._crew.crashes:
            raise Stopped
        if self._plan.kills and time.monotonic() > self._next_kill:
            self._kill_one()

    def hold(self, least_seconds: float, most_seconds: float) -> None:
        """Let things be as they are for a random time."""
        until = time.monotonic() + self._random.uniform(least_seconds, most_seconds)
        while time.monotonic() < until:
            self._tend_and_wait()

    def counts(self) -> Counter[str]:
        return self._board.counts()

    def evicted(self) -> int:
        """Return how many keys the server has dropped for want of memory."""
        return int(self.direct.info("stats")["evicted_keys"])

    def until_it_shows(self, before: Counter[str]) -> None:
        """Wait until reads have gone past the cache for an outage, and a write into the outbox."""
        self._wait("readers and writers noticed the outage", lambda: _shows(self.counts() - before))

    def writers_spared(self) -> AbstractContextManager[None]:
        """Let no writer die at an exact point meanwhile."""
        return self._crew.writers_spared()

    def freeze_one(self) -> None:
        """Have one process stand still for longer than a lease, and see it go on."""
        crew = self._crew
        self._wait("somebody lived", lambda: not all(each.killed for each in crew.members))
        member = self._random.choice([each for each in crew.members if not each.killed])
        member.is_spared = True  # a writer that died right after it would be the second fault in one commit
        before = self._uses(member)
        crew.freeze(member)
        try:
            self._wait(f"{member.role.name} stood still", lambda: crew.is_frozen(member))
            self.hold(LEASE_MS / 1000, 2 * LEASE_MS / 1000)
        finally:
            crew.thaw(member)
        self._wait(f"{member.role.name} went on", lambda: self._uses(member) > before)
        member.is_spared = False

    def until_the_cut_off_has_written(self) -> None:
        """Wait until each writer behind the proxy has written into the outbox, and gone on."""
        numbers = [member.role.number for member in self._crew.members if member.is_cut_off]
        before = {number: self._board.counted_by(number, "outbox") for number in numbers}

        def have_written() -> bool:
            return all(
                self._board.counted_by(number, "outbox") >= old + OUTBOX_WRITES_OF_EACH
                for number, old in before.items()
            )

        self.hold(LEAST_CUT_SECONDS, 2 * LEAST_CUT_SECONDS)
        self._wait("the writers that were cut off wrote", have_written)

    # The rest is its own.

    def _ways(self, stack: ExitStack) -> tuple[str, str]:
        """Return two ways to the cache server, of which the second can be cut."""
        self.proxy = stack.enter_context(Proxy(self.server.port))
        self.direct = stack.enter_context(redis.Redis.from_url(self.server.url))
        return self.server.url, f"redis://{LOOPBACK}:{self.proxy.port}/0"

    def _report(self, *, faults: Sequence[Mapping[str, Any]] = (), unproved: Sequence[str] = ()) -> Report:
        return Report(
            plan=self._plan,
            began=self._began,
            seconds=time.monotonic() - self._began,
            counts=self.counts(),
            kills=self._crew.kills,
            recoveries=self._recoveries,
            events=self._events,
            faults=faults,
            unproved=unproved,
        )

    def _disturb_and_kill(self) -> None:
        self._board.phase = Phase.RUN
        self._recover("start")
        self._next_kill = began = time.monotonic()
        for kind in self._shuffled_for_ever(self._plan.disturbances):
            self._note(kind)
            self._disturbances[kind](self)
            self._note(f"{kind}: over")
            self._recover(kind)
            lasted = (time.monotonic() - began) / self._plan.seconds
            if lasted >= MOST_TIMES or (lasted >= 1 and not any(self._report().gaps())):
                return

    def _recover(self, kind: str) -> None:
        """Wait until all are well again, and measure how many reads are hits then."""
        began = time.monotonic()
        before = self._progress()

        def is_well() -> bool:
            return self._progress().shows_health_since(before)

        self._wait(f"all processes were well again after '{kind}'", is_well)
        seconds = time.monotonic() - began
        counts = self.counts()
        self.hold(MEASURED_SECONDS, MEASURED_SECONDS)
        gained = self.counts() - counts
        reads = reads_in(gained)
        recovery = Recovery(kind, seconds, gained["hit"] / max(reads, 1))
        self._recoveries.append(recovery)
        self._note(f"well again after {kind}")
        self._tell(
            f"{time.monotonic() - self._began:6.1f} s  {kind}: well again after {seconds:.1f} s, "
            f"then {recovery.hit_rate:.0%} hits in {reads} reads"
        )

    def _uses(self, member: Member) -> int:
        """Return how often a writer has committed, or a reader has found something in the cache."""
        return self._board.counted_by(member.role.number, "commits" if member.kind == "writer" else "hit")

    def _progress(self) -> Progress:
        return Progress.of(self._board, [member.role for member in self._crew.members])

    def _sweep(self) -> None:
        """Once nobody writes, have each reader compare everything with what the database holds."""
        crew, board = self._crew, self._board
        self._note("sweep")
        self._next_kill = float("inf")
        self._wait("killed processes were replaced", lambda: not any(each.killed for each in crew.members))
        board.phase = Phase.REST
        self._wait("writers ended", lambda: crew.have_ended("writer"))
        self._wait("readers rested", lambda: self.counts()["rests"] == self._plan.readers)
        seconds = LEASE_MS / 1000 + BOUND_SECONDS  # nothing of the dead may be left
        self.hold(seconds, seconds)
        crew.settle_for_good()
        board.phase = Phase.SWEEP
        self._wait("readers looked at everything", lambda: crew.have_ended("reader"))

    def _linger(self) -> None:
        """After a fault let others be found."""
        until = time.monotonic() + FAULTS_SHOWN_AFTER_SECONDS
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def _kill_one(self) -> None:
        self._next_kill = time.monotonic() + self._random.uniform(*self._plan.kill_every_seconds)
        kind = next(self._kinds_of_kills)
        living = [
            each
            for each in self._crew.members
            if each.kind == kind.split()[0] and not each.killed and not each.is_spared and self._is_up(each)
        ]
        if living:
            member = self._random.choice(living)
            self._uses_when_killed[member.role.number] = self._uses(member)
            self._crew.kill(kind, member)

    def _is_up(self, member: Member) -> bool:
        """Say whether who took the place of one that was killed has used the cache.

        On a busy machine they would else be killed while they start, again and again, and nobody be ever well.
        """
        return self._uses(member) > self._uses_when_killed.get(member.role.number, -1)

    def _wait(self, what: str, claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not claim():
            if time.monotonic() > deadline:
                raise Impatient(f"In {PATIENCE_SECONDS} s it did not happen that {what}.")
            self._tend_and_wait()

    def _tend_and_wait(self) -> None:
        self.tend()
        time.sleep(POLL_SECONDS)

    def _note(self, text: str) -> None:
        self._events.append((time.monotonic(), text))

    def _shuffled_for_ever(self, kinds: Sequence[str]) -> Iterator[str]:
        while True:
            yield from self._random.sample(kinds, k=len(kinds))


def _shows(gained: Counter[str]) -> bool:
    return gained["bypass outage"] >= 5 and gained["outbox"] >= 2


def _faults_in(folder: Path) -> list[dict[str, Any]]:
    lines = [
        line for file in sorted(folder.glob("*.faults")) for line in file.read_text("utf-8").splitlines()
    ]
    return sorted(map(json.loads, lines), key=lambda fault: fault["at"])

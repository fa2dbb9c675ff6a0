"""`manage.py perfkit_jobs`: what jobs wait, run and have failed, and what people do to them."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import signal
from typing import Any, Final
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from perfkit.errors import PerfkitError
from perfkit.jobs.control import cancel_job, purge_jobs, replay_job
from perfkit.jobs.lists import MOST_LISTED, dead_jobs, find_job, list_jobs
from perfkit.jobs.modules import load_jobs
from perfkit.jobs.recovery import Recovery, send_due
from perfkit.jobs.schedules import list_schedules
from perfkit.management.job_text import job_json, job_lines, schedule_json, schedule_lines, table_lines
from perfkit.models import JobState

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    """Shows jobs, and retries, cancels and purges them."""

    help = (
        "Show jobs (list, show) and schedules, queue dead ones again (retry), stop one (cancel), remove ended "
        "ones (purge), send what is due (recover)."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what can be done."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        listed = actions.add_parser("list", help="Jobs, the latest first.")
        listed.add_argument(
            "--state", action="append", dest="states", choices=JobState.values, help="Only these; repeatable."
        )
        listed.add_argument("--name", help="Only jobs of this name.")
        listed.add_argument("--queue", help="Only jobs that were sent to this queue by name.")
        listed.add_argument(
            "--limit", type=_count, default=MOST_LISTED, help=f"Most jobs; {MOST_LISTED} if left out."
        )
        listed.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        show = actions.add_parser(
            "show", help="All of one job; values of arguments where it declares `shown`."
        )
        show.add_argument("id", type=_id)
        show.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        retry = actions.add_parser("retry", help="Queue a dead or cancelled job once more.")
        retry.add_argument("id", type=_id, nargs="?")
        retry.add_argument("--all-dead", action="store_true", help="All dead letters of --name.")
        retry.add_argument("--name", help="Of these dead letters.")
        cancel = actions.add_parser("cancel", help="Have a job that waits or runs stop.")
        cancel.add_argument("id", type=_id)
        schedules = actions.add_parser(
            "schedules", help="Schedules: how often, when last and next, which job."
        )
        schedules.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        recover = actions.add_parser(
            "recover",
            help="Send what is due or was lost, once a second, as Celery's workers do by themselves.",
        )
        recover.add_argument("--once", action="store_true", help="Look once, and say how many were sent.")
        purge = actions.add_parser("purge", help="Remove jobs that have ended.")
        purge.add_argument(
            "--older-than",
            type=_age,
            metavar="7d",
            help="Those that ended so long ago (s, m, h, d); those whose result is no longer kept if left out.",
        )
        purge.add_argument("--dead", action="store_true", help="Dead letters, too.")

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        """Do it.

        Raises:
            CommandError: There is no such job, this cannot be done to it, or the database does not answer.
        """
        load_jobs()  # which parameters people may see is declared there
        try:
            getattr(self, f"_{action}")(**options)
        except PerfkitError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {str(error).partition(chr(10))[0]}") from error

    def _list(
        self,
        *,
        states: list[str] | None,
        name: str | None,
        queue: str | None,
        limit: int,
        as_json: bool,
        **_: Any,
    ) -> None:
        found = list_jobs(states=tuple(states or ()), name=name, queue=queue, most=limit)
        if as_json:
            self.stdout.write(json.dumps([job_json(job) for job in found], indent=2))
        else:
            self.stdout.write("\n".join(table_lines(found)) if found else "There are no such jobs.")

    def _recover(self, *, once: bool, **_: Any) -> None:
        if once:
            self.stdout.write(f"{send_due():,} sent.")
            return
        recovery = Recovery()
        signal.signal(signal.SIGTERM, lambda *_: recovery.stop())
        try:
            recovery.look()
        except KeyboardInterrupt:
            recovery.stop()

    def _schedules(self, *, as_json: bool, **_: Any) -> None:
        found = list_schedules()
        if as_json:
            self.stdout.write(json.dumps([schedule_json(each) for each in found], indent=2))
        else:
            lines = schedule_lines(found)
            self.stdout.write("\n".join(lines) if found else "PERFKIT['SCHEDULES'] has no entries.")

    def _show(self, *, id: UUID, as_json: bool, **_: Any) -> None:  # noqa: A002  # the argument's name
        found = find_job(id)
        self.stdout.write(json.dumps(job_json(found), indent=2) if as_json else "\n".join(job_lines(found)))

    def _retry(self, *, id: UUID | None, all_dead: bool, name: str | None, **_: Any) -> None:  # noqa: A002
        if (id is None) != all_dead or all_dead != (name is not None):
            raise CommandError("Give the id of one job, or --all-dead and --name.")
        if id is not None:
            status = replay_job(id)
            self.stdout.write(f"{status.id} {status.name}: {status.state}.")
            return
        number, problems = 0, []
        for pk in list(dead_jobs(str(name)).values_list("pk", flat=True)):
            try:
                replay_job(pk)
            except PerfkitError as error:  # one that somebody else was quicker with keeps no other one back
                problems.append(str(error))
            else:
                number += 1
        self.stdout.write(f"{number:,} queued once more.")
        for problem in problems:
            self.stderr.write(problem)
        if problems:
            raise CommandError(f"{len(problems):,} could not be.")

    def _cancel(self, *, id: UUID, **_: Any) -> None:  # noqa: A002
        status = cancel_job(id)
        text = f"{status.state}." if status.is_ended else f"{status.state}; it stops where it next looks."
        self.stdout.write(f"{status.id} {status.name}: {text}")

    def _purge(self, *, older_than: dt.timedelta | None, dead: bool, **_: Any) -> None:
        states = (JobState.DONE, JobState.CANCELLED, *((JobState.DEAD,) if dead else ()))
        self.stdout.write(f"{purge_jobs(older_than=older_than, states=states):,} removed.")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a job") from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:  # noqa: PLR2004  # more is read by nobody
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to a million")
    return int(text)


def _age(text: str) -> dt.timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 12h or 7d")
    return dt.timedelta(**{UNITS[found[2]]: int(found[1])})

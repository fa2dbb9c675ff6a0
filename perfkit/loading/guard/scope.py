"""Which code is watched: a block, a request, a test; and what is done with what was found."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps

from perfkit.conf import options
from perfkit.errors import NPlusOneError
from perfkit.loading.guard.current import current, is_watching
from perfkit.loading.guard.findings import Finding
from perfkit.loading.guard.watch import Watch
from perfkit.signals import n_plus_one_found
from perfkit.watching import follow_awaits

logger = logging.getLogger("perfkit.n_plus_one")


@contextmanager
def watch_n_plus_one(*, mode: str | None = None) -> Iterator[Watch | None]:
    """Look for loops of queries within the block.

    Args:
        mode: As `PERFKIT["N_PLUS_ONE_MODE"]`, which is taken where it is left out: `"log"` and `"header"` log
            each loop once at the end of the block; `"raise"` refuses the statement that makes a loop.

    Yields:
        The watch, whose `findings` are there at any time; None where nothing is watched: the mode is `"off"`,
        the block was not drawn (`N_PLUS_ONE_SAMPLE_RATE`), or code outside of it watches already and does not
        give way.

    Raises:
        NPlusOneError: In the mode `"raise"`, where the loop is.
    """
    mode = mode or options.N_PLUS_ONE_MODE
    outer = current.get()
    is_taken = outer is not None and not outer.gives_way
    if mode == "off" or is_taken or random.random() >= options.N_PLUS_ONE_SAMPLE_RATE:  # noqa: S311
        yield None
        return
    watch = Watch(threshold=options.N_PLUS_ONE_MIN_QUERIES, raises=mode == "raise")
    try:
        with watching(watch):
            yield watch
    finally:
        tell(watch.findings)


@contextmanager
def no_n_plus_one(*, threshold: int | None = None) -> Iterator[Watch]:
    """Fail at the end of the block where queries were sent in loops within it; for tests.

    Args:
        threshold: Executions for different rows that make a loop, at least 2;
            `PERFKIT["N_PLUS_ONE_MIN_QUERIES"]` where it is left out.

    Raises:
        NPlusOneError: It tells every loop that was found. An exception of the block itself goes first.
        ValueError: `threshold` is below 2.

    Example:
        with no_n_plus_one():
            client.get("/flights/")
    """
    if threshold is not None and threshold < 2:  # noqa: PLR2004  # once is no loop
        raise ValueError(f"threshold is at least 2, not {threshold!r}.")
    watch = Watch(threshold=threshold or options.N_PLUS_ONE_MIN_QUERIES)
    with watching(watch):
        yield watch
    if watch.findings:
        raise NPlusOneError([str(finding) for finding in watch.findings])


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Count what is sent within the block with `watch`."""
    follow_awaits(is_watching)
    token = current.set(watch)
    try:
        yield
    finally:
        current.reset(token)


def tell(findings: list[Finding]) -> None:
    """Log what was found, tell it as `n_plus_one_found`, and record it where `N_PLUS_ONE_RECORD` names a file."""
    for finding in findings:
        logger.warning("%s", finding)
        model = ".".join(finding.name.split(".")[:2])
        told = n_plus_one_found.send_robust(apps.get_model(model) if model else None, finding=finding)
        for receiver, error in told:
            if isinstance(error, Exception):
                logger.error("%r could not take a finding: %r", receiver, error)
    if findings and options.N_PLUS_ONE_RECORD:
        _record(options.N_PLUS_ONE_RECORD, findings)


def _record(filename: str, findings: list[Finding]) -> None:
    """Append one line for each finding; by one write, so that several processes may share the file."""
    lines = "".join(f"{finding.as_json()}\n" for finding in findings).encode()
    try:
        file = os.open(filename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, lines)
        finally:
            os.close(file)
    except OSError as error:
        logger.error("N+1 queries could not be recorded in %s: %s", filename, error.strerror)  # noqa: TRY400

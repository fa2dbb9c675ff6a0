"""Rules of contents: what messages and results may hold, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from kombu.exceptions import SerializerNotInstalled
from kombu.serialization import prepare_accept_content

from perfkit.tasks.auditing.audited import Audited, Finding, listed

PICKLE: Final = "application/x-python-serialize"


def pickle(audited: Audited) -> Iterator[Finding]:
    """Find that pickle is read."""
    conf = audited.conf
    names = ("accept_content", "result_accept_content")
    accepted = [f"{name} is {list(conf.get(name))}" for name in names if PICKLE in _types(conf.get(name))]
    if accepted:
        yield Finding(
            "W604",
            f"{' and '.join(accepted)}: pickle runs code when it is read, so who can write to the broker or the "
            "result store can run code in your processes.",
            'Write accept_content = ["json"], task_serializer = "json" and result_serializer = "json".',
        )


def refused(audited: Audited) -> Iterator[Finding]:
    """Find what one side writes and the other does not read."""
    conf = audited.conf
    taken = _types(conf.accept_content)
    if not taken:
        return
    wrong = [task.name for task in audited.tasks if not _types([task.serializer]) <= taken]
    if wrong or not _types([conf.task_serializer]) <= taken:
        yield Finding(
            "E605",
            f"accept_content is {list(conf.accept_content)} and task_serializer {conf.task_serializer!r}: workers "
            f"refuse messages of {listed(wrong) or 'tasks'}.",
            'Write task_serializer = "json" and accept_content = ["json"].',
        )
    if not _types([conf.result_serializer]) <= (_types(conf.result_accept_content) or taken):
        yield Finding(
            "E605",
            f"result_serializer is {conf.result_serializer!r}, which accept_content or result_accept_content does "
            "not have: results are refused where they are read.",
            'Write result_serializer = "json" and accept_content = ["json"].',
        )


def lasting_results(audited: Audited) -> Iterator[Finding]:
    """Find results that no time limit deletes."""
    conf = audited.conf
    if not conf.result_backend or str(conf.result_backend).startswith("disabled") or conf.result_expires:
        return
    kept = [task.name for task in audited.tasks if not task.ignore_result]
    if kept or not (audited.tasks or conf.task_ignore_result):
        yield Finding(
            "W606",
            f"result_expires is {conf.result_expires}: results of {listed(kept) or 'tasks'} are kept for ever.",
            "Write result_expires = 3600, or task_ignore_result = True where nobody reads them.",
        )


def _types(names: Iterable[Any] | None) -> set[str]:
    """Return content types: a setting names them, or the serializers."""
    found: set[str] = set()
    for name in filter(None, names or ()):
        try:
            found |= prepare_accept_content({name}) or set()
        except SerializerNotInstalled:  # one that is registered later
            found.add(name)
    return found

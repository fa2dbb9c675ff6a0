"""Rules of names and types: settings that Celery does not read as they are meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

from celery.app.defaults import NAMESPACES, flatten
from django.conf import settings

from perfkit.tasks.auditing.audited import Audited, Finding
from perfkit.tasks.preset import TRANSPORT

TYPED: Final = {"bool": "True or False", "int": "a number", "float": "a number"}
NEAR: Final = 0.9
"""How alike two names are of which one is the other misspelt; other names may be another package's."""


def texts(audited: Audited) -> Iterator[Finding]:
    """Find numbers and truths that are texts, as they come from the environment."""
    kinds = {name: option.type for name, option in _options().items()}
    kinds |= {"task_default_priority": "int", "beat_cron_starting_deadline": "int"}
    wrong = {name: value for name in kinds if isinstance(value := audited.conf.get(name), str)}
    found = {name: (value, TYPED[kinds[name]]) for name, value in wrong.items() if kinds[name] in TYPED}
    if isinstance(wrong.get("worker_concurrency"), str) and wrong["worker_concurrency"] != "auto":
        found["worker_concurrency"] = (wrong["worker_concurrency"], TYPED["int"])
    timeout = audited.transport.get("visibility_timeout")
    if isinstance(timeout, str):
        found[f"visibility_timeout in {TRANSPORT}"] = (timeout, TYPED["int"])
    for name, (value, expected) in sorted(found.items()):
        yield Finding(
            "E604",
            f"{name} is the text {value!r}, and must be {expected}; Celery compares it as it is.",
            "Convert what comes from the environment, as in int(os.environ[…]).",
        )


def misspelt(audited: Audited) -> Iterator[Finding]:
    """Find names in Django's settings that are nearly those of Celery, which ignores them."""
    namespace = getattr(audited.app, "namespace", None)
    if not namespace:
        return
    prefix = f"{namespace}_"
    for name in sorted(each for each in dir(settings) if each.isupper() and each.startswith(prefix)):
        short = name.removeprefix(prefix).lower()
        if short in _options() or name in _old_names():
            continue
        if near := get_close_matches(short, _options(), n=1, cutoff=NEAR):
            yield Finding(
                "W615",
                f"{name} is {getattr(settings, name)!r}, and Celery has no setting of that name: it is ignored.",
                f"Did you mean {prefix}{near[0].upper()}?",
            )


@lru_cache(maxsize=1)
def _options() -> dict[str, Any]:
    return dict(flatten(NAMESPACES))


@lru_cache(maxsize=1)
def _old_names() -> set[str]:
    """Return the names of before Celery 4, which it still takes."""

    def old(_: str, key: str, option: Any) -> list[str]:
        return [pattern.format(key).upper() for pattern in option.old]

    return set(flatten(NAMESPACES, keyfilter=old))

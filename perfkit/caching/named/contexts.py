"""What the same call may answer differently in: the databases of the project, the language, the time zone."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from threading import local
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed
from django.utils import timezone, translation
from django.utils.translation import trans_real

from perfkit.caching.named.databases import current_databases

MOST_KNOWN: Final = 1_000

Context = tuple[str, str | None, str | None]
"""Names of the databases, the language and the time zone; None where the project does without."""

_names: Final[dict[Any, str]] = {}


def _variable_of(active: Any) -> ContextVar[Any] | None:
    """Return the variable in which asgiref keeps what is active, None where it keeps it otherwise.

    It holds another object whenever something is set; to compare that takes a twentieth of the time of asking.
    """
    variable = vars(vars(active).get("_storage", active)).get("_data")
    return variable if isinstance(variable, ContextVar) else None


Variables = tuple[ContextVar[Any] | None, ContextVar[Any] | None]

_variables: Variables | None = None
"""Those of the language and the time zone; None until somebody asks, for Django replaces them in tests."""


def _found_variables() -> Variables:
    global _variables  # noqa: PLW0603  # found once
    found = _variable_of(trans_real._active), _variable_of(timezone._active)  # type: ignore[attr-defined]  # noqa: SLF001  # no public names
    _variables = found
    return found


class _Seen(local):
    """What was active in this thread when somebody asked last, and its names."""

    language: Any = ...
    zone: Any = ...
    names: tuple[str | None, str | None] | None = None


_seen = _Seen()


def active_objects() -> tuple[Any, Any] | None:
    """Return what stands for the active language and time zone, other objects whenever one is set.

    None where this cannot be told.
    """
    language, zone = _variables or _found_variables()
    if language is None or zone is None:
        return None
    return language.get(None), zone.get(None)


def current_context() -> Context:
    """Return the context of this moment."""
    active = active_objects()
    if active is None:
        return (current_databases().scopes, *_asked())
    language, zone = active
    names = _seen.names
    if names is None or language is not _seen.language or zone is not _seen.zone:
        names = _asked()
        _seen.language, _seen.zone, _seen.names = language, zone, names
    return (current_databases().scopes, *names)


def _asked() -> tuple[str | None, str | None]:
    return (
        translation.get_language() if settings.USE_I18N else None,
        repr(timezone.get_current_timezone()) if settings.USE_TZ else None,  # two may have one name
    )


def context_name(context: Context, *parts: object) -> str:
    """Return a short name for keys, of a context and of `parts`."""
    named = (context, *map(str, parts))
    known = _names.get(named)
    if known is None:
        if len(_names) >= MOST_KNOWN:
            _names.clear()
        text = "\0".join(map(str, (*context, *parts)))
        known = _names[named] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return known


def _settings_changed(**_: object) -> None:
    """Ask anew in all threads: the settings say what is active where nothing was set."""
    global _seen, _variables  # tests alone change settings
    _seen, _variables = _Seen(), None


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.named.contexts")

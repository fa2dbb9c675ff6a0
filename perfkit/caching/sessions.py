"""What a SQL text changes of its session, and how it may end the transaction, read from the text.

Pure. It errs towards yes: a connection whose session is taken for one of its own reads from the database,
and what is taken for a COMMIT is announced; both are only slow.
What a function of the database sets cannot be seen here.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final, NamedTuple

GAP: Final = r"(?>(?:\s|--[^\n\r]*|/\*(?:(?!\*/).)*\*/)*)"
"""Space and comments."""

NESTED_COMMENT: Final = re.compile(r"/\*(?:(?!\*/).)*/\*", re.DOTALL)
"""PostgreSQL lets comments stand in comments, where SQLite does not."""


class Opening:
    """The words with which a statement begins, wherever in a text of several it stands, and behind comments.

    Args:
        words: A regular expression, in lower case.
            It is compiled when it is first asked for: most of them are asked for late or never, and compiling all
            would be a fifth of what perfkit adds to a start.
    """

    def __init__(self, words: str) -> None:
        self._words = f"(?:{words})"

    @cached_property
    def _first(self) -> re.Pattern[str]:
        return re.compile(f"{GAP}{self._words}", re.DOTALL)

    @cached_property
    def _later(self) -> re.Pattern[str]:
        return re.compile(f";{GAP}{self._words}", re.DOTALL)

    @cached_property
    def _anywhere(self) -> re.Pattern[str]:
        return re.compile(rf"\b{self._words}", re.DOTALL)

    def may_stand_in(self, lowered: str) -> bool:
        """Say whether a statement in a text, which is in lower case, may begin so."""
        if self._first.match(lowered):
            return True
        if ";" in lowered and self._later.search(lowered):
            return True
        return "/*" in lowered and bool(NESTED_COMMENT.search(lowered) and self._anywhere.search(lowered))


HARMLESS: Final = (
    r"(?:default_)?transaction_\w+|lock_timeout|statement_timeout|idle_\w+|session_replication_role|synchronous_commit"
    r"|work_mem|maintenance_work_mem|enable_\w+|jit\w*|application_name|client_min_messages|log_\w+|deadlock_timeout"
    r"|temp_buffers|max_parallel\w+"
)
"""Settings that decide how a query is run, and nothing of what it answers."""

SET: Final = Opening(
    rf"(?:set|reset)\b{GAP}(?!local\b)(?!(?:session\b{GAP})?(?:constraints|transaction|characteristics|{HARMLESS})\b)"
    rf"|discard\b{GAP}all\b"
)
SET_LOCAL: Final = Opening(rf"set\b{GAP}local\b{GAP}(?!(?:{HARMLESS})\b)")
SET_CONFIG: Final = re.compile(rf"\bset_config\"?{GAP}\((?!{GAP}'(?:{HARMLESS})')", re.DOTALL)
SET_IN_A_BLOCK: Final = re.compile(r"\b(?:set|reset|execute)\b")
DO: Final = Opening(r"do\b")
ISOLATION_OF_SESSION: Final = re.compile(r"\b(?:session|default_transaction_isolation)\b")
TEMPORARY: Final = re.compile(
    r"\bcreate\b(?=[^;(]*\b(?:pg_)?temp(?:orary)?\b)[^;(]*?\b(?:table|view)\b(?:\s+if\s+not\s+exists)?"
    r"\s+(?:\"?\w+\"?\.)?\"?(?P<name>[^\s\"(;]+)"
)
COMMIT: Final = Opening(r"(?:commit|end)\b")
RELEASE: Final = Opening(r"release\b")
PREPARE_TRANSACTION: Final = Opening(rf"prepare\b{GAP}transaction\b")
TEXT_LITERAL: Final = re.compile(r"'[^']*'")
UNSURE_LITERAL: Final = re.compile(r"--|/\*|[\\$\"]")
"""What may hold an apostrophe that neither begins nor ends a literal."""

EXECUTE: Final = Opening(r"execute\b(?!\s+(?:function|procedure)\b)")
COMMIT_PREPARED: Final = Opening(rf"commit\b{GAP}prepared\b")


class Settings(NamedTuple):
    """What a text may set, and so what its connection answers from then on.

    Args:
        session: The search path, the role, the zone, or what row security asks for.
            `RESET ALL` and `DISCARD ALL` do too: they undo what Django has set, and the first leaves the role.
        transaction: The same, until the open transaction ends.
        isolation: The level of isolation, of the open transaction at least.
        isolation_of_session: That of transactions to come.
        temporary: Names under which the session sees tables of its own.
    """

    session: bool
    transaction: bool
    isolation: bool
    isolation_of_session: bool
    temporary: frozenset[str]


SETS_NOTHING: Final = Settings(
    session=False, transaction=False, isolation=False, isolation_of_session=False, temporary=frozenset()
)


def may_set(sql: str) -> bool:
    """Say whether a SELECT may set anything."""
    lowered = sql.lower()
    return "set_config" in lowered or "isolation" in lowered


def settings_in(sql: str) -> Settings:
    """Return what a text may set."""
    lowered = sql.lower()
    isolation = "isolation" in lowered
    temporary = TEMPORARY.finditer(lowered) if "temp" in lowered else ()
    return Settings(
        session=_changes_session(lowered),
        transaction=SET_LOCAL.may_stand_in(lowered),
        isolation=isolation,
        isolation_of_session=isolation and bool(ISOLATION_OF_SESSION.search(lowered)),
        temporary=frozenset(each["name"] for each in temporary),
    )


def may_commit(sql: str, *, by_release: bool) -> bool:
    """Say whether a text may end the open transaction.

    Args:
        by_release: Whether the end of the outermost savepoint does so, as on SQLite.
    """
    lowered = sql.lower()
    return COMMIT.may_stand_in(lowered) or (by_release and RELEASE.may_stand_in(lowered))


def prepares_transaction(sql: str) -> bool:
    """Say whether a text may end the open transaction without committing it, as two-phase commit does."""
    return PREPARE_TRANSACTION.may_stand_in(sql.lower())


def stands_alone(sql: str) -> bool:
    """Say whether a text is surely one statement."""
    text = sql.rstrip("; \n\t")
    return ";" not in text or not (UNSURE_LITERAL.search(text) or ";" in TEXT_LITERAL.sub("", text))


def executes_prepared(sql: str) -> bool:
    """Say whether a text may run a statement that was prepared by name, and so not say what it writes."""
    return EXECUTE.may_stand_in(sql.lower())


def commits_prepared(sql: str) -> bool:
    """Say whether a text may commit a transaction that was prepared, here or by another connection."""
    return COMMIT_PREPARED.may_stand_in(sql.lower())


def _changes_session(lowered: str) -> bool:
    if SET.may_stand_in(lowered):
        return True
    if "set_config" in lowered and SET_CONFIG.search(lowered):
        return True
    if "pg_settings" in lowered and "update" in lowered:
        return True
    return DO.may_stand_in(lowered) and bool(SET_IN_A_BLOCK.search(lowered))

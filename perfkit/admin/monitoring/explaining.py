"""Plans of statements that were measured: which of them may be shown, and by what they are asked for.

# Note [Text that somebody else may have written]
The text of a statement comes from the cache server, and who can write there can put any text in its place.
So nothing of it is sent to the database until it was read whole, symbol by symbol:

- Its fingerprint is that of its text, so that what is explained is what the figures are of.
- It is made of names, quoted names, placeholders and the operators of Django's SQL alone.
  There is no literal in it, no comment, no backslash and no semicolon: it cannot end, and another statement begin.
- It begins with SELECT, and no word of it writes: INSERT, DELETE, MERGE and INTO are not there, UPDATE only as a
  lock.
- It calls only functions that are listed here, by their plain names: PostgreSQL runs functions with constant
  arguments while it plans.

What it then may do is bounded by the database: EXPLAIN without ANALYZE plans the statement and does not run it; it
is planned in a transaction that may only read, ends soon, waits for no lock, and is rolled back.
The role is that of the project, so that nothing is shown which the project could not read, and of rows nothing is
shown at all: GENERIC_PLAN plans for values that it does not know.
What is left to who can write to the cache server is the plan of another SELECT, shown to staff that may see plans.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from django.db import DatabaseError, connections, transaction

from perfkit.errors import NotExplainableError
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.secrecy import without_secrets

LEAST_VERSION: Final = 160_000
"""PostgreSQL 16 has GENERIC_PLAN."""

TIMEOUT_MS: Final = 2_000
LOCK_TIMEOUT_MS: Final = 200

SYMBOL: Final = re.compile(
    r"""
      (?P<space> [ ]+ )
    | (?P<quoted> "[^"\\;\0]+" )
    | (?P<placeholder> %s | %\(\w+\)s | \? | \$\d+(?!\w) )
    | (?P<list> \(…\) (?! ,[ ]… ) )
    | (?P<columns> (?<= [Ss][Ee][Ll][Ee][Cc][Tt][ ] ) … (?= [ ][Ff][Rr][Oo][Mm]\b ) )
    | (?P<word> [^\W\d]\w* )
    | (?P<mark> [(),.\[\]] | ::? )
    | (?P<operator> %% | (?: (?!--|/\*) [=<>!~+\-*/|&@\#^] )+ )
    """,
    re.VERBOSE,
)
WRITES: Final = frozenset({"INSERT", "DELETE", "MERGE", "INTO", "EXECUTE", "CALL", "COPY"})
LOCKS: Final = frozenset({"FOR", "KEY"})
"""Words before an UPDATE that is only a lock."""

WORDS: Final = """
    ALL AND ANY ARRAY AS BETWEEN BY CASE CUBE DISTINCT ELSE EXCEPT EXISTS FILTER FROM GROUP GROUPING HAVING
    ILIKE IN INTERSECT IS JOIN LATERAL LIKE LIMIT NOT OFFSET ON OR ORDER OVER ROLLUP ROW SELECT SETS SIMILAR
    SOME THEN TO UNION USING VALUES WHEN WHERE WITHIN
"""
NAMES: Final = """
    ABS ARRAY_AGG AVG BIT_AND BIT_OR BOOL_AND BOOL_OR CAST CEIL CEILING CHAR CHAR_LENGTH COALESCE CONCAT
    CONCAT_WS COUNT CUME_DIST DATE DATE_PART DATE_TRUNC DENSE_RANK EXP EXTRACT FIRST_VALUE FLOOR GREATEST
    JSONB_AGG JSONB_BUILD_OBJECT JSON_AGG JSON_BUILD_OBJECT LAG LAST_VALUE LEAD LEAST LEFT LENGTH LN LOG
    LOWER LPAD LTRIM MAX MD5 MIN MOD NOW NTH_VALUE NTILE NULLIF NUMERIC PERCENTILE_CONT PERCENTILE_DISC
    PERCENT_RANK PHRASETO_TSQUERY PLAINTO_TSQUERY POWER RANK REPEAT REPLACE REVERSE RIGHT ROUND ROW_NUMBER
    RPAD RTRIM SETWEIGHT SIGN SQRT STATEMENT_TIMESTAMP STDDEV_POP STDDEV_SAMP STRING_AGG STRPOS SUBSTR
    SUBSTRING SUM TIMESTAMP TO_CHAR TO_TSQUERY TO_TSVECTOR TRIM TRUNC TS_RANK UNNEST UPPER VARCHAR VAR_POP
    VAR_SAMP WEBSEARCH_TO_TSQUERY
"""
BEFORE_BRACKETS: Final = frozenset(WORDS.split())
"""Words of the language that brackets may follow."""

FUNCTIONS: Final = frozenset(NAMES.split())
"""PostgreSQL's own that only compute, and types with a length."""


@dataclass(frozen=True, slots=True)
class Explainable:
    """A statement whose plan may be asked for.

    Attributes:
        sql: With $1 and so on for what was left out.
        notes: What differs from the statement that ran.
    """

    sql: str
    notes: tuple[str, ...] = ()


def explainable(text: str, fingerprint: str) -> Explainable:
    """Return a statement to be explained, once it is proven that this changes nothing.

    See Note [Text that somebody else may have written].

    Args:
        text: As `watching.normalised` makes it.
        fingerprint: Under which it was found.

    Raises:
        NotExplainableError: It is not proven, or the text is not whole.

    Example:
        >>> explainable('SELECT "id" FROM "a" WHERE "b" IN (…) LIMIT ?', "aa9fad0dffc5").sql
        'SELECT "id" FROM "a" WHERE "b" IN ($1, $2) LIMIT $3'
    """
    if fingerprint_of(text) != fingerprint:
        raise NotExplainableError("The text that is stored is not that of the statement.")
    symbols = list(_symbols(text))
    _prove(symbols)
    return _numbered(symbols)


def plan_of(statement: Explainable, alias: str) -> list[str]:
    """Return the plan of a statement, line by line; the statement does not run.

    Raises:
        NotExplainableError: The database has no such plan, or not in time.

    Queries:
        Three, in a transaction or a savepoint that is rolled back.
    """
    reason = why_not(alias)
    if reason:
        raise NotExplainableError(reason)
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                [str(TIMEOUT_MS), str(LOCK_TIMEOUT_MS)],
            )
            cursor.execute(f"EXPLAIN (GENERIC_PLAN) {statement.sql}")
            lines = [str(line) for (line,) in cursor.fetchall()]
            transaction.set_rollback(True, using=alias)
            return lines
    except DatabaseError as error:
        said = without_secrets(str(error).partition("\n")[0])
        raise NotExplainableError(f"The database does not explain it: {said}") from error


def why_not(alias: str) -> str:
    """Return why a database shows no plans; an empty text where it does.

    Queries: none, or those of a first connection.
    """
    if alias not in connections:
        return "This process knows no database of that alias."
    connection: Any = connections[alias]
    if connection.vendor != "postgresql":
        return "Plans of statements whose values are not known are PostgreSQL's alone."
    try:
        version: int = connection.pg_version
    except DatabaseError:
        return "The database cannot be reached."
    return "" if version >= LEAST_VERSION else "Plans need PostgreSQL 16 or later."


Symbol = tuple[str, str]


def _symbols(text: str) -> Iterator[Symbol]:
    """Yield kind and text of each symbol."""
    position = 0
    while position < len(text):
        found = SYMBOL.match(text, position)
        if found is None:
            what = (
                "It was too long to be kept whole."
                if text[position] == "…"
                else "It has symbols not known here."
            )
            raise NotExplainableError(what)
        position = found.end()
        yield str(found.lastgroup), found[0]


def _prove(symbols: list[Symbol]) -> None:
    """Look at each symbol with those beside it.

    Raises:
        NotExplainableError: One of them might do something.
    """
    solid = [symbol for symbol in symbols if symbol[0] != "space"]
    if not solid or solid[0] != ("word", solid[0][1]) or solid[0][1].upper() != "SELECT":
        raise NotExplainableError("Only plans of statements that begin with SELECT are shown.")
    if re.search(r"\bGROUP BY [?%]", "".join(text for _, text in symbols), re.IGNORECASE):
        raise NotExplainableError(
            "It groups by columns that it names by numbers, and numbers are not kept: explain it by "
            "manage.py perfkit_explain, or queryset.explain()."
        )
    before: Symbol = ("", "")
    for place, (kind, text) in enumerate(solid):
        opens = place + 1 < len(solid) and (solid[place + 1][1] == "(" or solid[place + 1][0] == "list")
        if kind == "word":
            _prove_word(text.upper(), before, opens=opens)
        elif kind == "quoted" and opens and not _names_columns(before):
            raise NotExplainableError(f"It calls {text}, which is not known to change nothing.")
        before = (kind, text)


def _prove_word(word: str, before: Symbol, *, opens: bool) -> None:
    if word in WRITES or (word == "UPDATE" and before[1].upper() not in LOCKS):
        raise NotExplainableError(f"It may write: it has the word {word}.")
    if opens and (before[1] == "." or word not in BEFORE_BRACKETS | FUNCTIONS):
        raise NotExplainableError(f"It calls {word.lower()}, which is not known to change nothing.")


def _names_columns(before: Symbol) -> bool:
    """Say whether a name in front of brackets names columns: the other name of a list of rows has it so."""
    return before[0] == "word" and before[1].upper() == "AS"


def _numbered(symbols: list[Symbol]) -> Explainable:
    """Write numbers for what was left out."""
    numbers = count(1)
    parts: list[str] = []
    notes: list[str] = []
    for kind, text in symbols:
        match kind:
            case "placeholder":
                parts.append(f"${next(numbers)}")
            case "list":
                parts.append(f"(${next(numbers)}, ${next(numbers)})")
                notes.append("A list of values is planned as one of two.")
            case "columns":
                parts.append("*")
                notes.append("The list of its columns was too long to be kept: it is planned with SELECT *.")
            case "operator" if text == "%%":
                parts.append("%")
            case _:
                parts.append(text)
    return Explainable("".join(parts), tuple(dict.fromkeys(notes)))

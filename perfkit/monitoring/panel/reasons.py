"""Why a cached read went past the cache, in words, and what to do about it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Advice(NamedTuple):
    """What a reason means.

    Args:
        words: Why the cache was passed over, or the answer not kept.
        remedy: What to do; empty where nothing is wrong.
    """

    words: str
    remedy: str = ""


_SQL: Final = "The query holds SQL or code that may read anything, so nobody knows what voids its answer."
_EXPRESS: Final = "Say it with Django's own expressions, or read it with .uncached()."
_PAGE: Final = "The page is made for one client, and its view does not say by what pages differ."
_VARY: Final = "Name it in vary_on, or in ignores where the page does not show it; see how-to/pages."
_FRAGMENT: Final = "The fragment looks at the request, and is kept for all requests."
_GIVE: Final = "Give it what it needs as a value that it varies on; see how-to/pages."
_SAID: Final = "The answer itself says that it is not to be kept."

EXACT: Final = {
    "disabled": Advice(
        "Caching is off.", "Set CACHE_ENABLED, and a CACHE_ALIAS that is not the dummy cache."
    ),
    "written in this transaction": Advice(
        "The open transaction has written what the answer depends on.",
        "Read before writing, or after COMMIT.",
    ),
    "transaction has written": Advice(
        "The open transaction has written, so what it reads may yet be rolled back and is not stored.",
        "Read before writing, or after COMMIT.",
    ),
    "snapshot": Advice(
        "The transaction may see an old snapshot: REPEATABLE READ, SERIALIZABLE, or any on SQLite.",
        "Read outside of it, or at READ COMMITTED.",
    ),
    "it writes": Advice(
        "The cached function has sent a statement that may change rows.", "Write outside of cached functions."
    ),
    "function of the database's own": Advice(
        "It calls a function of the database that may read any table.",
        "Declare what it reads with depends_on and records=False, or do without the function.",
    ),
    "read before": Advice(
        "The function was given a cached queryset that was evaluated before.", "Evaluate it in the function."
    ),
    "system catalogue": Advice("It has read what the database says of itself, which nobody watches."),
    "names in another form": Advice(
        "A statement names its tables in a way that is not read here.",
        "Write the names as Django quotes them.",
    ),
    "missing key": Advice(
        "It has read a key of the cache that is not there, and nobody tells when it is set.",
        "Use get_or_set inside cached functions.",
    ),
    "stale value": Advice("It was given a former value, by a function with stale_ttl."),
    "written meanwhile": Advice("What it read was written since the request first saw it."),
    "unknown database": Advice("The value was made from a database that this process has no alias for."),
    "write in flight": Advice("Somebody is committing what the answer depends on at this moment."),
    "outage": Advice(
        "The cache server does not answer.", "See that it runs and is reached: CACHES, CACHE_TIMEOUT."
    ),
    "written in silence": Advice(
        "A process that cannot reach the cache server writes the table.", "See why it cannot."
    ),
    "outbox": Advice("Another thread has been looking into the outbox for a while."),
    "outbox missing": Advice("The table of the outbox is not there.", "Run manage.py migrate."),
    "outbox unreadable": Advice(
        "The database does not let perfkit read the outbox.", "GRANT SELECT and DELETE on perfkit_outbox."
    ),
    "view": Advice(
        "The model reads a view, and which tables stand behind it is not known.",
        "Name them: CachedManager(tables=[...]).",
    ),
    "foreign table": Advice(
        "The model reads a foreign table, and what changes its rows is not known.",
        "Name what does: CachedManager(tables=[...]).",
    ),
    "catalogue unreadable": Advice("The database does not tell which of its tables are views."),
    "replica": Advice(
        "The database is not the one that takes the writes, and may lag behind.",
        "Read what is cached from the primary.",
    ),
    "driver": Advice("The database is spoken to by a driver that perfkit does not watch."),
    "session setting": Advice(
        "The session was changed, by SET ROLE for example, and may see other rows.",
        "Undo it when its work is done, with RESET.",
    ),
    "for writing": Advice("Django reads what it is about to write: get_or_create, update_or_create."),
    "select_for_update": Advice("The query locks rows."),
    "explain": Advice("It asks for the plan."),
    "random order": Advice(
        "The answer is never twice the same.", "Choose at random among cached keys instead."
    ),
    "now()": Advice("The answer depends on the moment.", "Give the time as a value, cut to minutes or days."),
    "raw SQL": Advice(_SQL, _EXPRESS),
    "extra()": Advice(_SQL, _EXPRESS),
    "untracked table": Advice(
        "The query looks into a table that nobody watches.",
        "Give its model a CachedManager, or name it in CACHE_MODELS.",
    ),
    "aggregate": Advice("Django refuses the aggregates, and says why."),
    "value too large": Advice("A value in the query cannot be named exactly, for its size."),
    "value nested too deeply": Advice("A value in the answer cannot be kept exactly."),
    "unexpected answer": Advice("Its rows have not the shape that the query asks for."),
    "size": Advice("The answer is larger than a megabyte.", "Read less at once: pages, or fewer columns."),
    "stale": Advice("A former value, which stale_ttl allows while a new one is made."),
    "request with a body": Advice("A GET that says more than its address."),
    "encoding of the request": Advice("A GET that says more than its address."),
    "query string": Advice("The query string is not ASCII, as a well-formed one is."),
    "host": Advice("ALLOWED_HOSTS does not have the host."),
    "user without a row": Advice("The page is kept for users, and who asks is none of the database's."),
    "cookie": Advice(_PAGE, _VARY),
    "session": Advice(_PAGE, _VARY),
    "user": Advice(_PAGE, _VARY),
    "csrf token": Advice("The page has a form with a token of one client.", "Let a script fetch the token."),
    "message": Advice(_PAGE, _VARY),
    "all headers": Advice(_PAGE, _VARY),
    "Authorization": Advice(
        "The request has a credential, and its view says each time whether it is a good one.",
        "Name authorization in vary_on, to keep a page for each.",
    ),
    "says private": Advice(_SAID),
    "says no-store": Advice(_SAID),
    "says no-cache": Advice(_SAID),
    "says it is stale": Advice(_SAID),
    "sets a cookie": Advice("The answer sets a cookie of one client.", "Set it in another view."),
    "varies on everything": Advice(_SAID),
    "streaming": Advice("What streams is not kept."),
    "status": Advice("Only answers with the status 200 are kept."),
    "no plain 200": Advice("Only answers with the status 200 are kept."),
    "kept by its view": Advice("Its view keeps it already."),
}

BEGINNINGS: Final = {
    "volatile function": Advice(
        "The answer is never twice the same.", "Do without the function, or .uncached()."
    ),
    "custom SQL in": Advice(_SQL, _EXPRESS),
    "custom expression": Advice(_SQL, _EXPRESS),
    "custom lookup": Advice(_SQL, _EXPRESS),
    "custom transform": Advice(_SQL, _EXPRESS),
    "custom aggregate": Advice(_SQL, _EXPRESS),
    "custom join": Advice("perfkit does not see which tables the query looks into.", _EXPRESS),
    "custom query": Advice("perfkit does not see which tables the query looks into.", _EXPRESS),
    "it cannot be planned": Advice("perfkit does not see which tables the query looks into.", _EXPRESS),
    "parameter of type": Advice(
        "A value in the query cannot be named exactly, for its type.",
        "Give a plain value: a number, text, date, UUID.",
    ),
    "value of type": Advice(
        "A value in the answer cannot be kept exactly, for its type.", "Return plain values, or pickle=True."
    ),
    "header": Advice(_PAGE, _VARY),
    "cookie ": Advice(_FRAGMENT, _GIVE),
    "meta ": Advice(_FRAGMENT, _GIVE),
    "request ": Advice(_FRAGMENT, _GIVE),
}


def advice_on(reason: str) -> Advice:
    """Return what a reason of `cache_read` means; one that is not known here speaks for itself."""
    known = EXACT.get(reason)
    if known is not None:
        return known
    for beginning, advice in BEGINNINGS.items():
        if reason.startswith(beginning):
            return advice
    return Advice(reason)

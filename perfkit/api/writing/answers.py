"""The answers that are kept under idempotency keys, in the database that the requests write.

# Note [Why a request runs once]

The answer is written in the transaction of what the view writes: both are there, or neither.
Whoever may run a request holds a lock that ends with that transaction, by COMMIT, by rollback, or because its
process or its connection is gone; so nobody stays locked out by the dead.
PostgreSQL gives the lock up after the COMMIT can be seen, so who gets it next sees the answer.
The unique constraint stands behind that: where a transaction reads from an older snapshot, the second answer
under one key is refused, and what its view has written with it.
"""

from __future__ import annotations

import hashlib

from django.db import connections, models
from django.http import HttpResponse

from perfkit.models import IdempotentAnswer


class KeptAnswers:
    """The answers under one key.

    Args:
        using: The alias of the database.
        scope: Who sends requests to which route, see `scope_digest`.
        key: The client's.
    """

    def __init__(self, *, using: str, scope: str, key: str) -> None:
        self.using = using
        self.scope = scope
        self.key = key

    def hold(self) -> bool:
        """Keep others off until the transaction ends; tell whether nobody else holds the key.

        SQLite has one writer at a time: there it waits for the other one.
        """
        connection = connections[self.using]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [self._lock_number()])
                (is_held,) = cursor.fetchone()
                return bool(is_held)
            # A write that changes nothing: it makes this transaction the one that may write.
            table = connection.ops.quote_name(IdempotentAnswer._meta.db_table)
            cursor.execute(f"DELETE FROM {table} WHERE 1 = 0")  # noqa: S608  # a constant name
        return True

    def find(self) -> IdempotentAnswer | None:
        """Return the answer; one that has outlived its time is removed."""
        kept = self._all().filter(scope=self.scope, key=self.key).first()
        if kept is not None and kept.created_at < IdempotentAnswer.oldest():
            kept.delete()
            return None
        return kept

    def keep(self, response: HttpResponse, *, request_digest: str) -> None:
        """Keep the answer, without cookies.

        Raises:
            IntegrityError: There is one that this transaction does not see.
        """
        self._all().create(
            scope=self.scope,
            key=self.key,
            request_digest=request_digest,
            status=response.status_code,
            headers=dict(response.items()),
            content=response.content,
        )

    def _all(self) -> models.QuerySet[IdempotentAnswer]:
        return IdempotentAnswer.objects.using(self.using)

    def _lock_number(self) -> int:
        """Return the number of the lock, of 64 bits; two keys with the same one only wait for each other."""
        digest = hashlib.sha256(f"perfkit {self.scope} {self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def again(kept: IdempotentAnswer) -> HttpResponse:
    """Return the answer once more."""
    response = HttpResponse(bytes(kept.content), status=kept.status, headers=kept.headers)
    response["Idempotent-Replayed"] = "true"
    return response

"""What the routes of django-ninja cost: whether each is compiled, why not, its queries, and their indexes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from ninja.operation import Operation

from perfkit.api.compiling.contracts import contract_for, operations_of
from perfkit.api.compiling.responses import verdicts
from perfkit.postgres.plans import plan_of

PARAMETER: Final = re.compile(r"<(?:(\w+):)?(\w+)>|\{(?:(\w+):)?(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, and where it is found.

    Attributes:
        method: Such as `GET`.
        path: With the names of its parameters in braces: `/api/flights/{flight_id}`.
        parameters: These names.
    """

    method: str
    path: str
    parameters: tuple[str, ...]
    operation: Operation


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request of a route took.

    Attributes:
        status: Of the answer; 0 where nothing was asked.
        way: `compiled`, `instances`, or `` where the route shows no rows of a queryset.
        reason: Why not compiled, or why nothing was asked.
        columns: That were read of each row, where it was compiled.
        queries: How many.
        indexes: That their plans use, in the order of the queries; PostgreSQL.
        scans: Tables that are read from end to end, likewise.
    """

    status: int = 0
    way: str = ""
    reason: str = ""
    columns: int = 0
    queries: int = 0
    indexes: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()


def routes() -> list[Route]:
    """Return all operations that the project's addresses lead to, by address."""
    return sorted(_found(get_resolver(), "/"), key=lambda route: (route.path, route.method))


def cost_of(
    route: Route,
    values: Mapping[str, str],
    *,
    query: str = "",
    user: Any = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Cost:
    """Ask a route once, and return what that took. Whatever it writes is rolled back.

    Only GET is asked. What a request is answered with from a cache takes no queries.

    Args:
        values: Of the parameters of its path.
        query: What stands behind the `?`.
        user: Who is logged in; None for nobody.
        using: The database whose queries are counted.
    """
    missing = [name for name in route.parameters if name not in values]
    if route.method != "GET":
        return Cost(reason="only GET is asked")
    if missing:
        return Cost(reason=f"say which: {' '.join(f'{name}=…' for name in missing)}")
    path = route.path
    for name in route.parameters:
        path = path.replace(f"{{{name}}}", str(values[name]))
    connection = connections[using]
    client = Client(raise_request_exception=False)
    with transaction.atomic(using=using):
        try:
            if user is not None:
                client.force_login(user)
            with verdicts() as found, CaptureQueriesContext(connection) as captured:
                response = client.get(f"{path}?{query}", headers={"host": "localhost"})
            statements = [each["sql"] for each in captured if _is_select(each["sql"])]
            is_over = connection.needs_rollback  # the request has met an error of the database
            indexes, scans = ((), ()) if is_over else _plans(statements, using)
        finally:
            transaction.set_rollback(True, using=using)
    contract = contract_for(route.operation)
    verdict = found[-1] if found else None
    way = "" if verdict is None else "instances" if verdict.reason else "compiled"
    reason = "" if verdict is None else verdict.reason
    if verdict is None and contract is not None and response.status_code == 200:  # noqa: PLR2004
        reason = "its view has neither a pagination of perfkit nor @compiled" if captured else "from a cache"
    return Cost(
        response.status_code,
        way,
        reason,
        verdict.columns if verdict else 0,
        len(captured),
        indexes,
        scans,
    )


def _found(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for each in resolver.url_patterns:
        address = prefix + _plain(str(each.pattern))
        if isinstance(each, URLResolver):
            yield from _found(each, address)
        elif isinstance(each, URLPattern):
            for method, operation in operations_of(each.callback).items():
                names = tuple(re.findall(r"\{(\w+)\}", address))
                yield Route(method, address, names, operation)


def _plain(pattern: str) -> str:
    """Return a path of Django's with the names of its parameters in braces."""
    text = PARAMETER.sub(lambda match: f"{{{match[2] or match[4]}}}", pattern)
    return text.removeprefix("^").removesuffix("$").lstrip("/")


def _is_select(sql: str) -> bool:
    return sql.lstrip("( ").upper().startswith("SELECT")


def _plans(statements: Sequence[str], using: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the indexes that statements use, and the tables that they read from end to end."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return (), ()
    indexes: dict[str, None] = {}
    scans: dict[str, None] = {}
    for sql in dict.fromkeys(statements):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
            [[told]] = cursor.fetchall()
        [said] = json.loads(told) if isinstance(told, str) else told
        for node in plan_of(said).nodes():
            if index := node.said.get("Index Name"):
                indexes[str(index)] = None
            elif node.kind == "Seq Scan" and node.table:
                scans[node.table] = None
    return tuple(indexes), tuple(scans)

"""The ways a soak writes.

Each notes what it is about to change; the caller tells the board when it has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction

from perfkit.bulk import bulk_insert
from tests.soak.layout import code_of, zone_of
from tests.testapp.soak import Dial, Gauge, Panel

if TYPE_CHECKING:
    from tests.soak.writer import Writer


@contextmanager
def undone() -> Iterator[None]:
    """Begin a transaction, or a savepoint, that is rolled back at its end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def execute(sql: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


def sees_own(writer: Writer, key: int, version: int) -> None:
    """Inside a transaction, see what it has written itself."""
    for seen in (
        Gauge.objects.get(pk=key).version,
        Gauge.objects.filter(pk=key, station=writer.station)[0].version,
    ):
        if seen != version:
            writer.fault(
                "own write not seen in its transaction", row=f"gauge {key}", seen=seen, floor=version
            )


def columns(version: int) -> dict[str, int]:
    return {"version": version, "zone": zone_of(version)}


def made(writer: Writer, key: int, version: int) -> Gauge:
    return Gauge(pk=key, station=writer.station, code=code_of(key), **columns(version))


# --- Rows that stay ----------------------------------------------------------------------------------------


def save(writer: Writer) -> None:
    """Save an instance that has never seen its row, and so does not know which zone it leaves."""
    key = writer.lasting
    made(writer, key, writer.next(writer.layout.gauge(key))).save()


def save_of_some_columns(writer: Writer) -> None:
    gauge = Gauge.plain.get(pk=writer.lasting)
    gauge.version = writer.next(writer.layout.gauge(gauge.pk))
    gauge.zone = zone_of(gauge.version)
    gauge.save(update_fields=["version", "zone"])


def save_of_a_dial(writer: Writer) -> None:
    dial = Dial.plain.get(pk=writer.lasting)
    dial.version = writer.next(writer.layout.dial(dial.pk))
    dial.save()


def update_by_key(writer: Writer) -> None:
    key = writer.lasting
    Gauge.objects.filter(pk=key).update(**columns(writer.next(writer.layout.gauge(key))))


def update_of_twins(writer: Writer) -> None:
    Gauge.objects.filter(pk__in=writer.twins).update(**columns(_next_of_twins(writer)))


def update_by_filter(writer: Writer) -> None:
    version = writer.next(*map(writer.layout.gauge, writer.gauges))
    Gauge.objects.filter(station=writer.station).update(**columns(version))


def update_in_raw_sql(writer: Writer) -> None:
    key = writer.lasting
    version = writer.next(writer.layout.gauge(key))
    execute("update testapp_gauge set version = %s, zone = %s where id = %s", version, zone_of(version), key)


def transaction_in_raw_sql(writer: Writer) -> None:
    key = writer.lasting
    version = writer.next(writer.layout.gauge(key))
    execute("BEGIN")
    execute("UPDATE testapp_gauge SET version = %s, zone = %s WHERE id = %s", version, zone_of(version), key)
    execute("UPDATE testapp_dial SET version = %s WHERE id = %s", writer.next(writer.layout.dial(key)), key)
    execute("COMMIT")


def bulk_update(writer: Writer) -> None:
    gauges = list(Gauge.plain.filter(pk__in=[*writer.twins, writer.lasting]))
    version = writer.next(*(writer.layout.gauge(gauge.pk) for gauge in gauges))
    for gauge in gauges:
        gauge.version, gauge.zone = version, zone_of(version)
    Gauge.objects.bulk_update(gauges, ["version", "zone"])


def upsert(writer: Writer) -> None:
    key = writer.lasting
    Gauge.objects.bulk_create(
        [made(writer, key, writer.next(writer.layout.gauge(key)))],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["version", "zone"],
    )


def update_or_create(writer: Writer) -> None:
    key = writer.lasting
    Gauge.objects.update_or_create(pk=key, defaults=columns(writer.next(writer.layout.gauge(key))))


def atomic_block(writer: Writer) -> None:
    key = writer.lasting
    with transaction.atomic():
        for twin, version in zip(writer.twins, [_next_of_twins(writer)] * 2, strict=True):
            Gauge.objects.filter(pk=twin).update(**columns(version))
        version = writer.next(writer.layout.gauge(key))
        Gauge.objects.filter(pk=key).update(**columns(version))
        sees_own(writer, key, version)
        Dial.objects.filter(pk=key).update(version=writer.next(writer.layout.dial(key)))


def savepoint_rolled_back(writer: Writer) -> None:
    key = writer.lasting
    with transaction.atomic():
        version = writer.next(writer.layout.gauge(key))
        Gauge.objects.filter(pk=key).update(**columns(version))
        with undone():
            _write_what_never_was(writer)
        sees_own(writer, key, version)


def rolled_back(writer: Writer) -> None:
    with undone():
        _write_what_never_was(writer)


def row_under_a_lock(writer: Writer) -> None:
    """Write a row that others write too."""
    [key] = writer.random.sample(writer.layout.gauges_of(writer.layout.common), k=1)
    pair = next((pair for pair in writer.layout.twins if writer.layout.gauge(key) in pair), None)
    keys = [key] if pair is None else [register + 1 for register in pair]
    with transaction.atomic():
        locked = list(Gauge.objects.select_for_update().filter(pk__in=keys).order_by("pk"))
        version = writer.next(*(writer.layout.gauge(gauge.pk) for gauge in locked))
        for gauge in locked:
            gauge.version, gauge.zone = version, zone_of(version)
            gauge.save()


# --- Rows that come and go ---------------------------------------------------------------------------------


def create(writer: Writer) -> None:
    key = _without(writer)
    made(writer, key, _appears(writer, key)).save(force_insert=True)
    writer.commit_returned()
    Dial.objects.create(pk=key, gauge_id=key, version=_dial_appears(writer, key))


def bulk_create(writer: Writer) -> None:
    key = _without(writer)
    with transaction.atomic():
        Gauge.objects.bulk_create([made(writer, key, _appears(writer, key))])
        Dial.objects.bulk_create([Dial(pk=key, gauge_id=key, version=_dial_appears(writer, key))])


def insert_in_bulk(writer: Writer) -> None:
    key = _without(writer)
    bulk_insert(Gauge, [made(writer, key, _appears(writer, key))])
    writer.commit_returned()
    bulk_insert(Dial, [{"id": key, "gauge_id": key, "version": _dial_appears(writer, key)}])


def insert_in_raw_sql(writer: Writer) -> None:
    key = _without(writer)
    version = _appears(writer, key)
    execute(
        "INSERT INTO testapp_gauge (id, station, code, version, zone) VALUES (%s, %s, %s, %s, %s)",
        *(key, writer.station, code_of(key), version, zone_of(version)),
    )
    writer.commit_returned()
    execute(
        "WITH made AS (INSERT INTO testapp_dial (id, gauge_id, version) VALUES (%s, %s, %s) RETURNING id) "
        "SELECT id FROM made",
        *(key, key, _dial_appears(writer, key)),
    )


def delete(writer: Writer) -> None:
    key = _with(writer)
    _goes(writer, key)
    Gauge.objects.uncached().get(pk=key).delete()


def delete_by_filter(writer: Writer) -> None:
    key = _with(writer)
    _goes(writer, key)
    Gauge.objects.filter(station=writer.station, pk__in=[key]).delete()


def delete_in_raw_sql(writer: Writer) -> None:
    key = _with(writer)
    _goes(writer, key)
    with transaction.atomic():
        execute("DELETE FROM testapp_panel_gauges WHERE gauge_id = %s", key)
        execute(
            "DELETE FROM testapp_dial USING testapp_gauge WHERE gauge_id = testapp_gauge.id AND gauge_id = %s",
            key,
        )
        execute('DELETE FROM "testapp_gauge" WHERE "testapp_gauge"."id" = %s', key)


# --- A relation --------------------------------------------------------------------------------------------


def add_to_the_panel(writer: Writer) -> None:
    outside = writer.gauges - writer.members
    if not outside:
        _take_out(writer, {writer.random.choice(sorted(writer.members))})
        outside = writer.gauges - writer.members
    _put_in(writer, set(writer.random.sample(sorted(outside), k=1)))


def remove_from_the_panel(writer: Writer) -> None:
    if not writer.members:
        _put_in(writer, {writer.lasting, writer.twins[0]})
    _take_out(writer, set(writer.random.sample(sorted(writer.members), k=1)))


def set_the_panel(writer: Writer) -> None:
    wanted = set(writer.random.sample(sorted(writer.gauges), k=len(writer.gauges) // 2))
    for key in wanted - writer.members:
        writer.next(writer.layout.member(key))
    for key in writer.members - wanted:
        writer.gone(writer.layout.member(key))
    _panel(writer).gauges.set(wanted)
    writer.members = wanted


def clear_the_panel(writer: Writer) -> None:
    if not writer.members:
        _put_in(writer, {writer.lasting, writer.twins[1]})
    for key in writer.members:
        writer.gone(writer.layout.member(key))
    _panel(writer).gauges.clear()
    writer.members = set()


WRITES: Final[dict[str, Callable[[Writer], None]]] = {
    "save": save,
    "save of some columns": save_of_some_columns,
    "save of a dial": save_of_a_dial,
    "update by key": update_by_key,
    "update of twins": update_of_twins,
    "update by filter": update_by_filter,
    "update in raw SQL": update_in_raw_sql,
    "transaction in raw SQL": transaction_in_raw_sql,
    "bulk update": bulk_update,
    "upsert": upsert,
    "update or create": update_or_create,
    "atomic block": atomic_block,
    "savepoint rolled back": savepoint_rolled_back,
    "rolled back": rolled_back,
    "create": create,
    "bulk create": bulk_create,
    "bulk insert": insert_in_bulk,
    "insert in raw SQL": insert_in_raw_sql,
    "delete": delete,
    "delete by filter": delete_by_filter,
    "delete in raw SQL": delete_in_raw_sql,
    "add to the panel": add_to_the_panel,
    "remove from the panel": remove_from_the_panel,
    "set the panel": set_the_panel,
    "clear the panel": clear_the_panel,
    "row under a lock": row_under_a_lock,
}


def _next_of_twins(writer: Writer) -> int:
    return writer.next(*map(writer.layout.gauge, writer.twins))


def _write_what_never_was(writer: Writer) -> None:
    """Change, in a block that is going to be rolled back, something of everything."""
    key, version = writer.lasting, writer.never()
    Gauge.objects.filter(pk=key).update(**columns(version))
    sees_own(writer, key, version)
    Dial.objects.filter(pk=writer.lasting).update(version=version)
    Gauge.objects.filter(pk__in=writer.twins[:1]).update(**columns(version))
    for mortal in writer.gauges - {key, *writer.twins}:
        Dial.objects.filter(pk=mortal).delete()
    _panel(writer).gauges.clear()
    _panel(writer).gauges.add(key)
    for look in (
        Gauge.objects.filter(station=writer.station),
        Gauge.objects.filter(zone=zone_of(version)),
        _panel(writer).gauges.all(),
        Dial.objects.all(),
    ):
        list(look)


def _without(writer: Writer) -> int:
    """Return the key of a gauge that is not there, after its deletion if need be."""
    key = writer.mortal
    if key in writer.gauges:
        _goes(writer, key)
        Gauge.objects.filter(pk=key).delete()
        writer.commit_returned()
    return key


def _with(writer: Writer) -> int:
    """Return the key of a gauge that is there and may go, made anew if need be."""
    key = writer.mortal
    if key not in writer.gauges:
        made(writer, key, _appears(writer, key)).save(force_insert=True)
        writer.commit_returned()
    return key


def _appears(writer: Writer, key: int) -> int:
    writer.gauges.add(key)
    return writer.next(writer.layout.gauge(key))


def _dial_appears(writer: Writer, key: int) -> int:
    writer.dials.add(key)
    return writer.next(writer.layout.dial(key))


def _goes(writer: Writer, key: int) -> None:
    """Note that a gauge goes, and with it its dial and its place in the panel."""
    writer.gone(writer.layout.gauge(key))
    writer.gauges.discard(key)
    if key in writer.dials:
        writer.gone(writer.layout.dial(key))
        writer.dials.discard(key)
    if key in writer.members:
        writer.gone(writer.layout.member(key))
        writer.members.discard(key)


def _put_in(writer: Writer, keys: Iterable[int]) -> None:
    for key in keys:
        writer.next(writer.layout.member(key))
    _panel(writer).gauges.add(*keys)
    writer.members |= set(keys)
    writer.commit_returned()


def _take_out(writer: Writer, keys: Iterable[int]) -> None:
    for key in keys:
        writer.gone(writer.layout.member(key))
    _panel(writer).gauges.remove(*keys)
    writer.members -= set(keys)
    writer.commit_returned()


def _panel(writer: Writer) -> Panel:
    return Panel(pk=writer.layout.panel(writer.station))

"""Makes the shop's tables and fills them, on the server and always with the same rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper

SEED: Final = 1913


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each table has."""

    setting: int = 60
    tenant: int = 200
    category: int = 400
    label: int = 60
    user: int = 60_000
    follow: int = 150_000
    product: int = 30_000
    productlabel: int = 60_000
    order: int = 200_000
    orderline: int = 400_000
    invoice: int = 100_000
    ticket: int = 100_000
    message: int = 200_000
    event: int = 300_000
    document: int = 40_000
    booking: int = 50_000

    def part(self, share: float) -> Sizes:
        """Return the sizes of a smaller shop; what is small stays as it is."""
        return Sizes(
            **{
                each.name: size if size < 1_000 else max(round(size * share), 500)
                for each in fields(self)
                for size in [int(getattr(self, each.name))]
            }
        )


# Draws a number from 0 to 1 for the n-th row: the same on every server.
DRAW: Final = """
CREATE FUNCTION shop_draw(n bigint, seed bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT ((hashint8extended(n, seed) >> 12) & 4503599627370495)::float8 / 4503599627370496 $$
"""

# Words as people write them: few of them often, most seldom.
WORDS: Final = (
    "order delivery refund invoice password account broken missing late address payment login update email "
    "printer screen cable battery adapter charger keyboard monitor router license warranty contract upgrade "
    "shipping voucher discount returned damaged colour size weight manual driver firmware network wireless "
    "speaker camera lens tripod memory storage backup cloud server database report export import sync calendar"
)
TEXTS: Final = f"""
CREATE FUNCTION shop_words(n bigint, seed bigint, words int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT string_agg(
    CASE WHEN shop_draw(n * 31 + i, seed) < 0.03 THEN 'ref' || (shop_draw(n * 31 + i, seed + 1) * 5000)::int
    ELSE (string_to_array('{WORDS}', ' '))[
        1 + floor({len(WORDS.split())} * shop_draw(n * 31 + i, seed + 2) ^ 2)::int
    ] END, ' '
)
FROM generate_series(1, words) AS i $$
"""

FUNCTIONS: Final = ("shop_draw(bigint, bigint)", "shop_words(bigint, bigint, int)")


def row(column: str) -> str:
    """Return the SQL of a key that is drawn among the rows of a table: low numbers more often than high ones."""
    return f"1 + floor({{{column}}} * shop_draw(g, {SEED} + {len(column)}) ^ 2)::bigint"


def chosen(draw: str, *values: tuple[str, float]) -> str:
    """Return the SQL of a value that is chosen with so much weight."""
    reached = 0.0
    arms = []
    for value, weight in values[:-1]:
        reached += weight
        arms.append(f"WHEN {draw} < {reached:.5f} THEN '{value}'")
    return f"(CASE {' '.join(arms)} ELSE '{values[-1][0]}' END)"


def d(seed: int, of: str = "g") -> str:
    """Return the SQL of a draw."""
    return f"shop_draw({of}, {seed})"


def record(**values: str) -> str:
    """Return the SQL of a JSON object."""
    return "jsonb_build_object(" + ", ".join(f"'{name}', {value}" for name, value in values.items()) + ")"


def day(seed: int) -> str:
    """Return the SQL of a day between 2022 and May of 2024."""
    return f"(date '2022-01-01' + (850 * {d(seed)})::int)"


def moment(seed: int) -> str:
    """Return the SQL of a moment between 2022 and July of 2024."""
    return f"timestamptz '2022-01-01 00:00Z' + {d(seed)} * interval '900 days'"


def passing(table: str) -> str:
    """Return the SQL of a moment that grows with the row's number, a little out of order."""
    return (
        f"timestamptz '2022-01-01 00:00Z' + (g::float8 / {{{table}}}) * interval '900 days' "
        f"+ {d(90)} * interval '2 hours'"
    )


UUID = "md5('{}' || g)::uuid"
RARE_TAG = f"'tag' || (400 * {d(71)} ^ 2)::int"
COMMON_TAG = chosen(d(73), ("new", 0.5), ("sale", 0.3), ("eco", 0.19), ("vegan", 0.01))
TAGS = f"ARRAY[{RARE_TAG}, 'tag' || (400 * {d(72)} ^ 2)::int, {COMMON_TAG}]"
FIRST_NAME = chosen(d(4), ("ann", 0.2), ("bob", 0.2), ("Carl", 0.2), ("dora", 0.2), ("Eve", 0.2))
FOLDER = chosen(d(89), ("home", 0.6), ("shared", 0.3), ("legal", 0.1))

ROWS: Final[dict[str, dict[str, str]]] = {
    "setting": {"name": "'setting_' || g", "value": "'value ' || g"},
    "tenant": {
        "name": "'Tenant ' || g",
        "plan": chosen(d(1), ("free", 0.7), ("team", 0.25), ("large", 0.05)),
        "is_active": f"{d(2)} < 0.9",
        "created_at": moment(3),
    },
    "category": {"parent_id": "CASE WHEN g > 10 THEN 1 + (g % 10) END", "name": "'Category ' || g"},
    "label": {"name": "'Label ' || g"},
    "user": {
        "tenant_id": row("tenant"),
        "uid": UUID.format("user"),
        "email": f"{FIRST_NAME} || '.' || g || '@example' || (g % 37) || '.com'",
        "name": "initcap(shop_words(g, 5, 2)) || ' ' || (g % 4999)",
        "country": chosen(
            d(6), ("DE", 0.4), ("FR", 0.25), ("US", 0.2), ("IT", 0.1), ("PT", 0.045), ("IS", 0.005)
        ),
        "is_agent": f"{d(7)} < 0.01",
        "is_active": f"{d(8)} < 0.97",
        "created_at": passing("user"),
        "last_login": f"CASE WHEN {d(9)} < 0.6 THEN {moment(10)} END",
        "deleted_at": f"CASE WHEN {d(11)} < 0.03 THEN {moment(12)} END",
        "referrer_id": f"CASE WHEN g > 100 AND {d(13)} < 0.3 THEN 1 + floor((g - 1) * {d(14)})::bigint END",
        "preferences": record(
            theme=chosen(d(15), ("light", 0.8), ("dark", 0.19), ("sepia", 0.01)),
            digest=f"{d(16)} < 0.5",
            beta=f"CASE WHEN {d(17)} < 0.01 THEN true END",
            zone="g % 24",
        ),
    },
    "follow": {
        "follower_id": f"1 + floor({{user}} * {d(18)})::bigint",
        "followed_id": f"1 + floor({{user}} * {d(19)} ^ 3)::bigint",
        "since": moment(20),
        "is_muted": f"{d(21)} < 0.05",
    },
    "product": {
        "category_id": row("category"),
        "sku": "'SKU-' || upper(substr(md5(g::text), 1, 8))",
        "name": "initcap(shop_words(g, 22, 3)) || ' ' || g",
        "price": f"round((1 + 400 * {d(23)} ^ 3)::numeric, 2)",
        "cost": f"round((1 + 200 * {d(24)} ^ 3)::numeric, 2)",
        "stock": f"greatest(0, (500 * {d(25)})::int - 20)",
        "rating": f"CASE WHEN {d(26)} < 0.7 THEN round((1 + 4 * {d(27)})::numeric, 2)::float8 END",
        "is_listed": f"{d(28)} < 0.92",
        "tags": TAGS,
        "attributes": record(
            colour=chosen(
                d(29), ("black", 0.5), ("white", 0.3), ("red", 0.15), ("blue", 0.045), ("gold", 0.005)
            ),
            size=record(width=f"(300 * {d(30)})::int", depth=f"(90 * {d(31)})::int"),
            maker=f"'maker' || (800 * {d(32)} ^ 2)::int",
        )
        + f" || CASE WHEN {d(33)} < 0.01 THEN {record(recalled='true')} ELSE {record(volt='230')} END",
        "offered": f"daterange({day(34)}, {day(34)} + 1 + (40 * {d(35)})::int)",
        "updated_at": moment(36),
    },
    "productlabel": {
        "product_id": f"1 + floor({{product}} * {d(37)})::bigint",
        "label_id": row("label"),
        "rank": f"(100 * {d(38)})::int",
    },
    "order": {
        "tenant_id": row("tenant"),
        "user_id": row("user"),
        "reference": UUID.format("order"),
        "status": chosen(
            d(39), ("paid", 0.7), ("shipped", 0.2), ("pending", 0.07), ("cancelled", 0.027), ("failed", 0.003)
        ),
        "currency": chosen(d(40), ("EUR", 0.85), ("USD", 0.14), ("ISK", 0.01)),
        "total": f"round((5 + 900 * {d(41)} ^ 4)::numeric, 2)",
        "coupon": f"CASE WHEN {d(42)} < 0.05 THEN 'C' || (2000 * {d(43)})::int END",
        "is_gift": f"{d(44)} < 0.02",
        "placed_at": passing("order"),
        "paid_at": f"CASE WHEN {d(39)} < 0.9 THEN {passing('order')} + {d(45)} * interval '3 days' END",
        "updated_at": moment(46),
        "note": "shop_words(g, 47, 3)",
    },
    "orderline": {
        "order_id": f"1 + floor({{order}} * {d(48)})::bigint",
        "product_id": row("product"),
        "quantity": f"1 + floor(20 * {d(49)} ^ 5)::int",
        "price": f"round((1 + 400 * {d(50)} ^ 3)::numeric, 2)",
        "discount": f"CASE WHEN {d(51)} < 0.1 THEN round((0.5 * {d(52)})::numeric, 2) END",
        "returned_on": f"CASE WHEN {d(53)} < 0.02 THEN date '2022-01-01' + (900 * {d(54)})::int END",
    },
    "invoice": {
        "order_id": f"1 + floor({{order}} * {d(55)})::bigint",
        "tenant_id": row("tenant"),
        "number": "'INV-' || (2022 + g * 3 / ({invoice} + 1)) || '-' || lpad(g::text, 7, '0')",
        "amount": f"round((5 + 900 * {d(56)} ^ 4)::numeric, 2)",
        "issued_on": "date '2022-01-01' + (900 * g / {invoice})::int",
        "due_on": f"date '2022-01-01' + (900 * g / {{invoice}})::int + 14 + (30 * {d(57)})::int",
        "paid_on": f"CASE WHEN {d(58)} < 0.97 "
        f"THEN date '2022-01-01' + (900 * g / {{invoice}})::int + (40 * {d(59)})::int END",
    },
    "ticket": {
        "tenant_id": row("tenant"),
        "requester_id": f"1 + floor({{user}} * {d(60)})::bigint",
        "assignee_id": f"CASE WHEN {d(61)} < 0.8 THEN 1 + floor(600 * {d(62)} ^ 2)::bigint END",
        "duplicate_of_id": f"CASE WHEN g > 10 AND {d(63)} < 0.04 THEN 1 + floor((g - 1) * {d(64)})::bigint END",
        "subject": "initcap(shop_words(g, 65, 4)) || ' #' || g",
        "status": chosen(d(66), ("closed", 0.9), ("solved", 0.05), ("open", 0.04), ("waiting", 0.01)),
        "priority": f"1 + floor(5 * {d(67)} ^ 3)::int",
        "channel": chosen(d(68), ("mail", 0.6), ("web", 0.3), ("phone", 0.098), ("fax", 0.002)),
        "created_at": passing("ticket"),
        "due_at": f"CASE WHEN {d(69)} < 0.4 THEN {passing('ticket')} + {d(70)} * interval '20 days' END",
        "closed_at": f"CASE WHEN {d(66)} < 0.95 THEN {passing('ticket')} + {d(74)} * interval '9 days' END",
    },
    "message": {
        "ticket_id": f"1 + floor({{ticket}} * {d(75)})::bigint",
        "author_id": row("user"),
        "body": "words",
        "search": "to_tsvector('simple', words)",
        "is_internal": f"{d(77)} < 0.15",
        "sent_at": passing("message"),
        "read_at": f"CASE WHEN {d(78)} < 0.96 THEN {passing('message')} + interval '1 hour' END",
    },
    "event": {
        "kind": f"1 + floor(12 * {d(79)} ^ 2)::int",
        "object_id": f"1 + floor(50000 * {d(80)})::bigint",
        "actor_id": row("user"),
        "action": chosen(
            d(81),
            ("view", 0.75),
            ("click", 0.15),
            ("search", 0.06),
            ("login", 0.035),
            ("export", 0.004),
            ("error", 0.001),
        ),
        "session": "md5('session' || (g / 7))::uuid",
        "address": f"CASE WHEN {d(82)} < 0.7 THEN "
        f"('10.' || (g % 250) || '.' || (250 * {d(83)})::int || '.' || (250 * {d(84)})::int)::inet END",
        "payload": record(
            page=f"'page' || (3000 * {d(85)} ^ 2)::int",
            ms=f"(2000 * {d(86)} ^ 4)::int",
            device=chosen(d(87), ("phone", 0.6), ("desk", 0.395), ("watch", 0.005)),
        ),
        "happened_at": passing("event"),
    },
    "document": {
        "id": UUID.format("document"),
        "owner_id": row("user"),
        "title": "initcap(shop_words(g, 88, 3)) || ' ' || g",
        "path": f"'/' || {FOLDER} || '/' || (g % 97) || '/' || (g % 1009) || '/file' || g || '.txt'",
        "tags": TAGS,
        "data": record(
            kind=chosen(d(91), ("memo", 0.6), ("scan", 0.39), ("will", 0.01)),
            pages=f"(90 * {d(92)} ^ 3)::int",
            author=record(name=f"'author' || (3000 * {d(93)})::int"),
            refs=f"jsonb_build_array((900 * {d(94)})::int, (900 * {d(95)})::int)",
        ),
        "size_bytes": f"(10 ^ (2 + 6 * {d(96)}))::bigint",
        "created_on": f"date '2022-01-01' + (900 * {d(97)})::int",
        "deleted_at": f"CASE WHEN {d(98)} < 0.04 THEN {moment(99)} END",
    },
    "booking": {
        "resource": f"1 + floor(500 * {d(100)})::int",
        "guest_id": row("user"),
        "during": f"tstzrange({moment(101)}, {moment(101)} + interval '1 hour' * (1 + (30 * {d(102)} ^ 3)))",
        "state": chosen(d(103), ("done", 0.9), ("held", 0.08), ("void", 0.02)),
    },
}

SAID: Final = {"message": ", LATERAL (SELECT shop_words(g, 76, 7) AS words OFFSET 0) AS said"}
"""What stands in two columns of a table."""


def fill(connection: BaseDatabaseWrapper, sizes: Sizes) -> None:
    """Make the tables, fill them, and have them analysed; outside a transaction."""
    numbers = {each.name: int(getattr(sizes, each.name)) for each in fields(sizes)}
    models = {model._meta.model_name: model for model in apps.get_app_config("shop").get_models()}
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(DRAW)
        cursor.execute(TEXTS)
    with connection.schema_editor() as editor:
        for name, columns in ROWS.items():
            editor.create_model(models[name])
            values = ", ".join(columns.values()).format(**numbers)
            editor.execute(
                f"INSERT INTO shop_{name} ({', '.join(columns)}) "
                f"SELECT {values} FROM generate_series(1, {numbers[name]}) AS g{SAID.get(name, '')}",
                params=None,
            )
        for function in FUNCTIONS:
            editor.execute(f"DROP FUNCTION {function}", params=None)
    # What Django has put off until here, foreign keys and their indexes, is made of full tables.
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {', '.join(f'shop_{name}' for name in ROWS)}")

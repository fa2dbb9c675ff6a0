"""What PostgreSQL's catalogue and statistics are asked about indexes, tables and foreign keys."""

from __future__ import annotations

from typing import Final

# The tables that an unqualified name finds, but for those of extensions.
TABLES: Final = """
SELECT c.oid, c.relname, c.relkind, c.reltuples, c.relreplident, c.relispartition
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND pg_table_is_visible(c.oid)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpersistence <> 't'
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
"""

INDEXES_SQL: Final = """
WITH RECURSIVE tables AS ($tables), mine AS (
    SELECT x.*, t.relname AS table_name, t.relkind AS table_kind, t.relreplident
    FROM tables t JOIN pg_index x ON x.indrelid = t.oid
    WHERE t.oid <> ALL(%s::bigint[]::oid[])
), parts AS (
    SELECT indexrelid AS root, indexrelid AS part FROM mine
    UNION ALL
    SELECT p.root, h.inhrelid FROM parts p JOIN pg_inherits h ON h.inhparent = p.part
), sums AS (
    SELECT p.root, sum(coalesce(s.idx_scan, 0))::bigint AS scans, sum(pg_relation_size(p.part))::bigint AS bytes,
           sum(nullif(c.reltuples, -1))::bigint AS rows
    FROM parts p
    JOIN pg_class c ON c.oid = p.part
    LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = p.part
    GROUP BY p.root
)
SELECT i.relname, n.nspname, m.table_name, a.amname, m.indisunique, m.indnkeyatts,
       m.indisvalid AND m.indisready AND m.indislive, i.relkind = 'I', pg_get_indexdef(i.oid),
       ARRAY(SELECT coalesce(att.attname::text, pg_get_indexdef(i.oid, k, false))
             FROM generate_series(1, m.indnatts) k
             LEFT JOIN pg_attribute att ON att.attrelid = m.indrelid AND att.attnum = m.indkey[k - 1]
             ORDER BY k),
       m.indkey::int2[],
       ARRAY(SELECT CASE WHEN o.opcdefault THEN '' ELSE o.opcname::text END
             FROM unnest(m.indclass) WITH ORDINALITY AS c (oid, place) JOIN pg_opclass o ON o.oid = c.oid
             ORDER BY c.place),
       ARRAY(SELECT CASE WHEN att.attcollation <> c.oid THEN quote_ident(l.collname) ELSE '' END
             FROM unnest(m.indcollation) WITH ORDINALITY AS c (oid, place)
             LEFT JOIN pg_collation l ON l.oid = c.oid
             LEFT JOIN pg_attribute att ON att.attrelid = m.indrelid AND att.attnum = m.indkey[c.place - 1]
             ORDER BY c.place),
       m.indoption::int2[], pg_get_expr(m.indpred, m.indrelid),
       concat_ws(' ', m.indcollation::text, m.indnullsnotdistinct::text,
                 array_to_string(array_remove(i.reloptions, NULL), ' ')),
       CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
            THEN 'constraint'
            WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid) THEN 'foreign key'
            WHEN m.indisreplident OR (m.indisprimary AND m.relreplident = 'd') THEN 'replica identity'
            WHEN m.indisclustered THEN 'cluster'
            WHEN m.table_kind = 'm' AND m.indisunique THEN 'refresh' ELSE '' END,
       s.scans, s.bytes, s.rows,
       coalesce((SELECT substr(o, 12)::int FROM unnest(i.reloptions) o WHERE o LIKE 'fillfactor=%%'), 90),
       i.oid::bigint
FROM mine m
JOIN pg_class i ON i.oid = m.indexrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
JOIN pg_am a ON a.oid = i.relam
JOIN sums s ON s.root = m.indexrelid
ORDER BY m.table_name, i.relname
""".replace("$tables", TABLES)

TABLES_SQL: Final = """
WITH RECURSIVE tables AS ($tables), parts AS (
    SELECT oid AS root, oid AS part FROM tables
    UNION ALL
    SELECT p.root, h.inhrelid FROM parts p JOIN pg_inherits h ON h.inhparent = p.part
    JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition
)
SELECT t.relname, sum(nullif(c.reltuples, -1)) FILTER (WHERE c.relkind <> 'p'),
       sum(coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0))::bigint, sum(coalesce(s.n_tup_del, 0))::bigint
FROM tables t
JOIN parts p ON p.root = t.oid
JOIN pg_class c ON c.oid = p.part
LEFT JOIN pg_stat_all_tables s ON s.relid = p.part
GROUP BY t.relname
""".replace("$tables", TABLES)

# What is read on an expression is kept under the name of its index.
FIGURES_SQL: Final = """
WITH tables AS ($tables), names AS (
    SELECT c.relname, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid IN (SELECT oid FROM tables)
       OR c.oid IN (
           SELECT x.indexrelid FROM pg_index x JOIN tables t ON t.oid = x.indrelid
           WHERE x.indexprs IS NOT NULL
       )
)
SELECT DISTINCT ON (s.tablename, s.attname)
       s.tablename, s.attname, s.n_distinct, s.null_frac, coalesce(s.most_common_freqs[1], 0), s.avg_width
FROM pg_stats s JOIN names ON names.relname = s.tablename AND names.nspname = s.schemaname
ORDER BY s.tablename, s.attname, s.inherited DESC
""".replace("$tables", TABLES)

REFERENCES_SQL: Final = """
WITH tables AS ($tables)
SELECT t.relname,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (number, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place),
       p.relname
FROM pg_constraint k
JOIN tables t ON t.oid = k.conrelid
JOIN pg_class p ON p.oid = k.confrelid
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY t.relname, k.conname
""".replace("$tables", TABLES)

# A crash takes the statistics of a database away, and with them when they began. What is written then,
# once for the whole server, is no earlier than what is asked for.
SINCE_SQL: Final = """
SELECT coalesce(d.stats_reset, b.stats_reset, pg_postmaster_start_time()), now()
FROM pg_stat_database d CROSS JOIN pg_stat_bgwriter b
WHERE d.datname = current_database()
"""

SCANS_SQL: Final = """
WITH RECURSIVE tables AS ($tables), parts AS (
    SELECT x.indexrelid AS root, x.indexrelid AS part FROM pg_index x JOIN tables t ON t.oid = x.indrelid
    UNION ALL
    SELECT p.root, h.inhrelid FROM parts p JOIN pg_inherits h ON h.inhparent = p.part
)
SELECT r.relname, sum(coalesce(s.idx_scan, 0))::bigint
FROM parts p
JOIN pg_class r ON r.oid = p.root
LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = p.part
GROUP BY r.relname
""".replace("$tables", TABLES)

DENSITY_SQL: Final = """
SELECT p.oid::regprocedure::text
FROM pg_proc p
JOIN pg_extension e ON e.extname = 'pgstattuple' AND p.pronamespace = e.extnamespace
WHERE p.proname = 'pgstatindex' AND p.proargtypes[0] = 'regclass'::regtype
  AND has_function_privilege(p.oid, 'EXECUTE')
"""

-- What the catalogue says of relations that may get triggers.
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 't',
       c.relispartition AND NOT c.relkind = 'I',
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AND c.relkind <> 'p',
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) AND NOT c.relispartition,
       EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid),
       coalesce(
           (SELECT jsonb_object_agg(
                a.attname,
                CASE WHEN coalesce(l.collisdeterministic, true) THEN a.atttypid::regtype::text ELSE '' END)
            FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           '{}')::text,
       ARRAY(SELECT p.relid::oid::bigint FROM pg_partition_tree(c.oid) p WHERE p.relid <> c.oid ORDER BY 1)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace

-- Every trigger of perfkit's in this database, with its function.
SELECT g.tgrelid::bigint, g.tgname::text, g.tgenabled::text, g.tgtype::integer,
       coalesce(g.tgoldtable::text, ''), coalesce(g.tgnewtable::text, ''),
       g.tgqual IS NOT NULL OR g.tgattr::text <> '',
       p.oid::bigint, f.nspname::text, p.proname::text, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}'),
       p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0),
       has_table_privilege(p.proowner, o.oid, 'INSERT')
FROM pg_trigger g
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_namespace f ON f.oid = p.pronamespace
LEFT JOIN pg_class o ON o.oid = to_regclass(%s)
WHERE starts_with(g.tgname, %s) AND starts_with(p.proname, %s) AND NOT g.tgisinternal
ORDER BY g.tgrelid, g.tgname

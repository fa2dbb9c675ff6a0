
-- perfkit, version 1 of its triggers: `manage.py perfkit_triggers` makes this function, shows and removes it.
-- It tells the readers of the cache what a statement has written, in the transaction of whoever wrote it.
DECLARE
    setting CONSTANT text := 'perfkit.t' || TG_RELID;
    xact CONSTANT text := pg_current_xact_id_if_assigned()::text;
    told text := current_setting(setting, true);
    times integer := 0;
    found bigint;
    is_whole boolean := false;
    perfkit_scope text;  -- what readers call the database; no column has that name
    tags text[];
    is_renamed CONSTANT boolean := TG_TABLE_NAME <> ALL ({known_names});
BEGIN
    IF xact IS NULL THEN
        RETURN NULL;  -- nothing was written
    END IF;
    -- A savepoint that is rolled back takes back both what was told and the setting that says so.
    IF starts_with(told, xact || ' ') THEN
        IF told = xact || ' whole' AND TG_OP <> 'TRUNCATE' THEN
            RETURN NULL;
        END IF;
        times := split_part(told, ' ', 2)::integer;
    END IF;
    perfkit_scope := left(encode(sha256(convert_to(current_database()::text, 'UTF8')), 'hex'), 12);
    IF TG_OP = 'TRUNCATE' OR times >= {most_statements} OR is_renamed THEN
        is_whole := true;
    ELSE
        BEGIN
            IF TG_LEVEL = 'STATEMENT' THEN
                CASE TG_OP
                WHEN 'INSERT' THEN
                    {inserted}
                WHEN 'UPDATE' THEN
                    {updated}
                WHEN 'DELETE' THEN
                    {deleted}
                END CASE;
            {replicated}END IF;
        EXCEPTION WHEN OTHERS THEN
            is_whole := true;  -- a column is gone, or has another type: a writer must not fail for that
        END;
    END IF;
    IF is_whole THEN
        tags := ARRAY[{whole}]::text[];
    ELSE
        tags := tags || ARRAY[{always}]::text[];
        IF TG_OP = 'DELETE' THEN
            tags := tags || ARRAY[{cascaded}]::text[];
        END IF;
    END IF;
    IF TG_OP = 'TRUNCATE' OR is_renamed THEN  -- PostgreSQL empties no table without all that refer to it
        tags := tags || ARRAY(
            WITH RECURSIVE emptied (oid) AS (
                SELECT TG_RELID
                UNION
                SELECT k.conrelid FROM emptied e JOIN pg_constraint k ON k.confrelid = e.oid AND k.contype = 'f'
                WHERE TG_OP = 'TRUNCATE'
            )
            SELECT kind || perfkit_scope || ':' || CASE WHEN plain COLLATE "C" ~ '^[ -~]*$' THEN replace(plain, ':', '%3A')
                ELSE '#' || encode(sha256(convert_to(plain, 'UTF8')), 'hex') END
            FROM emptied e
            JOIN pg_class c ON c.oid = e.oid
            CROSS JOIN LATERAL lower(substring(c.relname::text from '[^.]*$')) AS plain
            CROSS JOIN unnest(ARRAY['a:', 'b:']) AS kind
        );
    END IF;
    IF to_regclass({outbox_text}) IS NULL THEN
        RETURN NULL;  -- perfkit was removed; without the outbox no reader trusts the cache
    END IF;
    INSERT INTO {outbox} (tags, writer, created_at)
    VALUES (array_to_json(tags)::text, {writer}, clock_timestamp());
    told := set_config(setting, xact || CASE WHEN is_whole THEN ' whole' ELSE ' ' || times + 1 END, true);
    RETURN NULL;
END;

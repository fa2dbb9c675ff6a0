-- Returns what the keys hold; unlike the command, it is refused where the server may write nothing.
-- KEYS: entries, tokens.
return redis.call('MGET', unpack(KEYS))

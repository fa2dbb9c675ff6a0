-- Gives each tag a new generation, so that all entries made before are void.
-- A token with writers in flight is left: it becomes a new generation when they are done or their leases end.
-- KEYS: tokens. ARGV: the new generation, a token's time to live in milliseconds.
for _, key in ipairs(KEYS) do
  local token = redis.pcall('GET', key)  -- an error, where the key is of a type that is not ours
  if type(token) ~= 'string' or string.sub(token, 1, 1) ~= 'w' then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
return #KEYS

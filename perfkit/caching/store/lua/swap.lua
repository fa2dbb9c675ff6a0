-- Gives a tag a new generation and returns it, if it has the token that is expected.
-- KEYS: the token. ARGV: the new generation, its time to live in milliseconds, the token expected.
if redis.pcall('GET', KEYS[1]) ~= ARGV[3] then
  return false
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

-- Adds numbers to the fields of a hash, unless the writer has told this batch or a later one before.
-- KEYS: the hash. ARGV: how long it is kept in milliseconds, the writer's field, the batch's number,
-- then fields and numbers in turn.
local last = redis.call('HGET', KEYS[1], ARGV[2])
if last and tonumber(last) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
for index = 4, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[index], ARGV[index + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1

-- KEYS[1]: a flight. ARGV: who asks, and for how long. Returns who has it: the caller where nobody had.
local holder = redis.call('GET', KEYS[1])
if holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

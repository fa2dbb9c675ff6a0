-- KEYS[1]: a flight. ARGV: who has it, and for how long from now. Returns 1 where he still has it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

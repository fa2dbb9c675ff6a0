-- KEYS: a flight, and what came of it. ARGV: who has it. Returns the outcome, '' while it goes on, '-' where it is gone.
local outcome = redis.call('GET', KEYS[2])
if outcome then return outcome end
return redis.call('GET', KEYS[1]) == ARGV[1] and '' or '-'

-- Returns an entry and its tags' tokens.
-- Where there is no entry, each tag without a token gets a new generation: whoever asks is about to fill.
-- KEYS: the entry, tokens. ARGV: the new generation, a token's time to live in milliseconds.
local found = redis.call('MGET', unpack(KEYS))
if not found[1] then
  for index = 2, #KEYS do
    if not found[index] then
      found[index] = ARGV[1]
      redis.call('SET', KEYS[index], ARGV[1], 'PX', ARGV[2])
    end
  end
end
return found

-- Gives each tag a new generation, so that all entries made before are void, and removes writers from its token.
-- A token with other writers in flight stays so: it becomes a new generation when they are done or their leases end.
-- KEYS: tokens. ARGV: the new generation, a token's time to live in milliseconds, ids of writers to remove.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest_lease = 24 * 3600 * 1000  -- beyond that nobody of us wrote it
local gone = {}
for index = 3, #ARGV do
  gone[ARGV[index]] = true
end
for _, key in ipairs(KEYS) do
  local latest = 0
  local writers = {}
  local token = redis.pcall('GET', key)  -- an error, where the key is of a type that is not ours
  if type(token) == 'string' and string.sub(token, 1, 1) == 'w' then
    for writer, ends in string.gmatch(token, '(%x+)@(%d+)') do
      local lease_end = tonumber(ends)
      if not gone[writer] and lease_end > now and lease_end < now + longest_lease then
        writers[#writers + 1] = writer .. '@' .. ends
        latest = math.max(latest, lease_end)
      end
    end
  end
  if #writers > 0 then
    redis.call('SET', key, 'w' .. table.concat(writers, ','), 'PX', string.format('%d', latest - now))
  else
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
return #KEYS

-- Removes a writer from each tag's token; a token with no writer left becomes a new generation.
-- KEYS: tokens. ARGV: the writer's id, the new generation, a token's time to live in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest_lease = 24 * 3600 * 1000  -- beyond that nobody of us wrote it
for _, key in ipairs(KEYS) do
  local latest = 0
  local writers = {}
  local token = redis.pcall('GET', key)  -- an error, where the key is of a type that is not ours
  if type(token) == 'string' and string.sub(token, 1, 1) == 'w' then
    for writer, ends in string.gmatch(token, '(%x+)@(%d+)') do
      local lease_end = tonumber(ends)
      if writer ~= ARGV[1] and lease_end > now and lease_end < now + longest_lease then
        writers[#writers + 1] = writer .. '@' .. ends
        latest = math.max(latest, lease_end)
      end
    end
  end
  if #writers > 0 then
    redis.call('SET', key, 'w' .. table.concat(writers, ','), 'PX', string.format('%d', latest - now))
  else
    redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
  end
end
return #KEYS

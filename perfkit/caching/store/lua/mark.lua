-- Adds a writer whose COMMIT is about to go out to each tag's token.
-- KEYS: tokens. ARGV: the writer's id, its lease in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest_lease = 24 * 3600 * 1000  -- beyond that nobody of us wrote it
local own_end = now + tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  local latest = own_end
  local writers = { ARGV[1] .. '@' .. string.format('%d', own_end) }
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
  redis.call('SET', key, 'w' .. table.concat(writers, ','), 'PX', string.format('%d', latest - now))
end
return #KEYS

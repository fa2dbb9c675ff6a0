-- KEYS: the numbers of a day; then, where anything is added, one addition or reservation.
-- ARGV: how long the numbers are kept, what is done ('add', 'reserve' or 'settle'), a bound or '' for none, then
-- names and what to add. Where the bound would be passed by 'cost', nothing is reserved.
-- The script may be sent twice, so the second key says what was done. What was reserved stands there too: it is
-- taken off again where it is settled, but not off the numbers of a server that has lost it meanwhile.
-- Returns 'ok' or 'no', then all names and numbers.
-- What nobody of us has written under these keys makes room.
local DONE_SECONDS, RESERVED_SECONDS = 600, 172800
local kind = redis.call('TYPE', KEYS[1]).ok
local is_ours = kind == 'hash' or kind == 'none'
if kind == 'hash' then
  for place, part in ipairs(redis.call('HGETALL', KEYS[1])) do
    is_ours = is_ours and string.match(part, place % 2 == 1 and '^[%l_]+$' or '^%-?%d+$')
  end
end
if not is_ours then redis.call('DEL', KEYS[1]) end
local told = 'ok'
local known = KEYS[2] and redis.pcall('GET', KEYS[2])
if type(known) ~= 'string' or not (known == 'done' or string.match(known, '^%d+$')) then known = nil end
if KEYS[2] and known ~= 'done' and not (known and ARGV[2] == 'reserve') then
  local cost = '0'
  for place = 4, #ARGV, 2 do
    if ARGV[place] == 'cost' then cost = ARGV[place + 1] end
  end
  if ARGV[3] ~= '' then
    local whole = tonumber(redis.call('HGET', KEYS[1], 'cost') or '0') + tonumber(cost)
    if whole > tonumber(ARGV[3]) then told = 'no' end
  end
  if told == 'ok' then
    for place = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end
    if ARGV[2] == 'reserve' then
      redis.call('SET', KEYS[2], cost, 'EX', RESERVED_SECONDS)
    else
      if known and known ~= '0' then redis.call('HINCRBY', KEYS[1], 'cost', '-' .. known) end
      redis.call('SET', KEYS[2], 'done', 'EX', DONE_SECONDS)
    end
    redis.call('EXPIRE', KEYS[1], ARGV[1])
  end
end
return told .. ' ' .. table.concat(redis.call('HGETALL', KEYS[1]), ' ')

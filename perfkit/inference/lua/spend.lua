-- KEYS[1]: the numbers of a day. ARGV: how long they are kept, a bound or '' for none, then names and what to add.
-- Where the bound would be passed by 'cost', nothing is added. Returns 'ok' or 'no', then all names and numbers.
local told = 'ok'
if ARGV[2] ~= '' then
  local cost = tonumber(redis.call('HGET', KEYS[1], 'cost') or '0')
  for place = 3, #ARGV, 2 do
    if ARGV[place] == 'cost' then cost = cost + tonumber(ARGV[place + 1]) end
  end
  if cost > tonumber(ARGV[2]) then told = 'no' end
end
if told == 'ok' and #ARGV > 2 then
  for place = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return told .. ' ' .. table.concat(redis.call('HGETALL', KEYS[1]), ' ')

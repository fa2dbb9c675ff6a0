-- Counts a request against all rates of a client, or against none where one of them does not admit it.
-- KEYS: one for each rate. ARGV: what the request costs, then for each rate a letter and three numbers:
-- 'w', the limit, the period and the step; or 'g', the burst, the interval and the tolerance. See rules.py.
-- A window is a list: what it has used, then its entries 'time:cost' from the newest on.
-- Returns for each rate: whether it admits the request, what remains, when it refills, when to try again.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local number = '%.0f'

local function entry(key, place)
  local text = redis.call('LINDEX', key, place)
  if not text then return nil end
  local colon = string.find(text, ':', 1, true)
  return tonumber(string.sub(text, 1, colon - 1)), tonumber(string.sub(text, colon + 1))
end

local window = {}

function window.settle(rate)
  local key, period = rate.key, rate.second
  rate.now, rate.used = clock, tonumber(redis.call('LINDEX', key, 0) or 0)
  if rate.used == 0 then return end
  rate.newest, rate.newest_cost = entry(key, 1)
  local began = rate.newest - rate.third + 1
  if began > clock + period then  -- the clock was put back
    redis.call('DEL', key)
    rate.used, rate.newest = 0, nil
    return
  end
  rate.now = math.max(clock, began)
  local used = rate.used
  local oldest, oldest_cost = entry(key, -1)
  while oldest + period <= rate.now do
    used = used - oldest_cost
    if used == 0 then
      redis.call('DEL', key)
      rate.used, rate.newest = 0, nil
      return
    end
    redis.call('RPOP', key)
    oldest, oldest_cost = entry(key, -1)
  end
  if used < rate.used then
    redis.call('LSET', key, 0, string.format(number, used))
    rate.used = used
  end
  rate.oldest = oldest
end

function window.admits(rate)
  return rate.used + cost <= rate.first
end

function window.charge(rate)
  local key, step = rate.key, rate.third
  local ends = rate.now - rate.now % step + step - 1
  rate.used = rate.used + cost
  rate.oldest = rate.oldest or ends
  local used = string.format(number, rate.used)
  if rate.newest == ends then
    redis.call('LSET', key, 1, string.format('%.0f:%.0f', ends, rate.newest_cost + cost))
    redis.call('LSET', key, 0, used)
  else
    local new = string.format('%.0f:%.0f', ends, cost)
    if rate.newest then
      redis.call('LSET', key, 0, new)
      redis.call('LPUSH', key, used)
    else
      redis.call('RPUSH', key, used, new)
    end
  end
  redis.call('PEXPIRE', key, string.format(number, math.ceil((ends + rate.second - clock) / 1000)))
end

function window.remaining(rate)
  return rate.first - rate.used
end

function window.refill(rate)
  return rate.oldest and rate.oldest + rate.second - rate.now or 0
end

function window.retry(rate)
  local missing = rate.used + cost - rate.first
  local place = -1
  while missing > 0 and rate.used >= missing do
    local ends, count = entry(rate.key, place)
    missing = missing - count
    if missing <= 0 then return ends + rate.second - rate.now end
    rate.used = rate.used - count
    place = place - 1
  end
  return -1
end

local gcra = {}

function gcra.settle(rate)
  local known = tonumber(redis.call('GET', rate.key) or clock)
  if known > clock + 2 * rate.third then known = clock end  -- the clock was put back
  rate.known = math.max(known, clock)
end

function gcra.admits(rate)
  return rate.known + cost * rate.second <= clock + rate.third
end

function gcra.charge(rate)
  rate.known = rate.known + cost * rate.second
  local left = string.format(number, math.ceil((rate.known - clock) / 1000))
  redis.call('SET', rate.key, string.format(number, rate.known), 'PX', left)
end

function gcra.remaining(rate)
  return math.max(0, math.floor((clock + rate.third - rate.known) / rate.second))
end

function gcra.refill(rate)
  if rate.known == clock then return 0 end
  return rate.known - clock - (rate.first - gcra.remaining(rate) - 1) * rate.second
end

function gcra.retry(rate)
  if cost > rate.first then return -1 end
  return rate.known + cost * rate.second - clock - rate.third
end

local rates = {}
local all_admit = true
for place, key in ipairs(KEYS) do
  local at = place * 4 - 2
  local rule = ARGV[at] == 'w' and window or gcra
  local rate = {
    rule = rule, key = key,
    first = tonumber(ARGV[at + 1]), second = tonumber(ARGV[at + 2]), third = tonumber(ARGV[at + 3])
  }
  rule.settle(rate)
  rate.admits = rule.admits(rate)
  all_admit = all_admit and rate.admits
  rates[place] = rate
end
local told = {}
for _, rate in ipairs(rates) do
  local rule = rate.rule
  if all_admit then rule.charge(rate) end
  told[#told + 1] = rate.admits and 1 or 0
  told[#told + 1] = rule.remaining(rate)
  told[#told + 1] = rule.refill(rate)
  told[#told + 1] = rate.admits and 0 or rule.retry(rate)
end
return told

-- Counts a request against all rates of a client, or against none where one of them does not admit it.
-- KEYS: one for each rate. ARGV: what the request costs, then for each rate a letter and three numbers:
-- 'w', the limit, the period and the step; or 'g', the burst, the interval and the tolerance. See rules.py.
-- A window is a string of doubles: what it has used, then when each entry ends and what it cost, the oldest first.
-- Returns for each rate, in one line: whether it admits the request, what remains, when it refills, when to try
-- again. Functions and tables are left out where they can be: making them takes longer than all else.
local call, pack, unpack = redis.call, struct.pack, struct.unpack
local time = call('TIME')
local clock = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local rates = {}
local all_admit = true

for place = 1, #KEYS do
  local at = place * 4
  local first, second, third = tonumber(ARGV[at - 1]), tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local state = redis.pcall('GET', KEYS[place])  -- an error, where the key is of a type that is not ours
  local admits
  if type(state) ~= 'string' then state = nil end
  if ARGV[at - 2] == 'w' then
    local now, used, from, last = clock, 0, 9, nil
    if state and #state % 16 == 8 and #state > 8 then
      last = unpack('<d', state, #state - 15)
      local newest = last - third + 1
      if newest <= clock + second then  -- else the clock was put back
        used = unpack('<d', state)
        if used ~= used then used = 0 end  -- no number
        now = math.max(clock, newest)
        local ends, entry_cost = unpack('<dd', state, from)
        while used > 0 and ends + second <= now do
          used, from = used - entry_cost, from + 16
          if used > 0 then ends, entry_cost = unpack('<dd', state, from) end
        end
      end
    end
    admits = used + cost <= first
    rates[place] = { true, admits, first, second, third, state, now, used, from, last }
  else
    local known = state and tonumber(state) or clock
    -- Past, or the clock was put back, or no number.
    if not (known >= clock and known <= clock + 2 * third) then known = clock end
    admits = known + cost * second <= clock + third
    rates[place] = { false, admits, first, second, third, known }
  end
  all_admit = all_admit and admits
end

local told = ''
for place = 1, #KEYS do
  local rate = rates[place]
  local admits, first, second, third = rate[2], rate[3], rate[4], rate[5]
  local remaining, refill, retry = 0, 0, 0
  if rate[1] then
    local state, now, used, from = rate[6], rate[7], rate[8], rate[9]
    if all_admit then
      local ends = now - now % third + third - 1
      local head = pack('<d', used + cost)
      if used == 0 then
        state = head .. pack('<dd', ends, cost)
      elseif rate[10] == ends then
        local entry_cost = unpack('<d', state, #state - 7) + cost
        state = head .. string.sub(state, from, -9) .. pack('<d', entry_cost)
      else
        state = head .. string.sub(state, from) .. pack('<dd', ends, cost)
      end
      used, from = used + cost, 9
      call('PSETEX', KEYS[place], math.ceil((ends + second - clock) / 1000), state)
    end
    remaining = first - used
    if used > 0 then refill = unpack('<d', state, from) + second - now end
    if not admits then
      retry = -1
      local missing = used + cost - first
      if missing <= used then
        while retry < 0 do
          local ends, entry_cost = unpack('<dd', state, from)
          missing, from = missing - entry_cost, from + 16
          if missing <= 0 then retry = ends + second - now end
        end
      end
    end
  else
    local known = rate[6]
    if all_admit then
      known = known + cost * second
      call('PSETEX', KEYS[place], math.ceil((known - clock) / 1000), string.format('%.0f', known))
    end
    remaining = math.max(0, math.floor((clock + third - known) / second))
    if known > clock then refill = known - clock - (first - remaining - 1) * second end
    if not admits then
      retry = cost > first and -1 or known + cost * second - clock - third
    end
  end
  told = told .. string.format('%d %.0f %.0f %.0f ', admits and 1 or 0, remaining, refill, retry)
end
return { ok = told }

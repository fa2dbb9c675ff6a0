-- Adds vectors to pages, unless the writer has told this or something later before.
-- KEYS: the writers of the day, those of the day before, then the pages, then for those that are kept for good the
-- days on which something was last added to their names.
-- ARGV: the writer, the number, in msgpack for each page: how long it is kept in milliseconds, the most names that
-- it has room for, its vectors by name, each as indexes and numbers in turn, and which of the days are its own, or
-- 0; and the day.
for index = 1, 2 do
  local last = redis.call('HGET', KEYS[index], ARGV[1])
  if last and tonumber(last) >= tonumber(ARGV[2]) then
    return 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], 3 * 86400)

-- Returns the sum of two vectors.
local function added(held, vector)
  local sums = {}
  for at = 1, #held, 2 do
    sums[held[at]] = held[at + 1]
  end
  for at = 1, #vector, 2 do
    sums[vector[at]] = (sums[vector[at]] or 0) + vector[at + 1]
  end
  local flat = {}
  for index, number in pairs(sums) do
    flat[#flat + 1] = index
    flat[#flat + 1] = number
  end
  return flat
end

-- Drops the names of a page to which nothing was added yesterday or today, at most once a day; returns how many.
local function dropped(page, days)
  if redis.call('HGET', days, '') == ARGV[4] then
    return 0
  end
  redis.call('HSET', days, '', ARGV[4])
  local number = 0
  for _, name in ipairs(redis.call('HKEYS', page)) do
    local day = redis.call('HGET', days, name)
    if not day then
      redis.call('HSET', days, name, ARGV[4])
    elseif tonumber(day) < tonumber(ARGV[4]) - 1 and not string.find(name, '\tother$') then
      redis.call('HDEL', page, name)
      redis.call('HDEL', days, name)
      number = number + 1
    end
  end
  return number
end

local additions = cmsgpack.unpack(ARGV[3])
for number, addition in ipairs(additions) do
  local page = KEYS[number + 2]
  local days = addition[4] > 0 and KEYS[#additions + 2 + addition[4]]
  local room = addition[2] - redis.call('HLEN', page)
  if days then
    room = room + (redis.call('HGET', days, '\tothers') or 0)
  end
  for name, vector in pairs(addition[3]) do
    local held = redis.call('HGET', page, name)
    if not held then
      local others = 0
      if string.sub(name, 1, 10) == 'statement\t' then
        others = addition[2] - math.floor(addition[2] / 2)
      end
      if days and room <= 0 then
        room = room + dropped(page, days)
      end
      if room > others then
        room = room - 1
      else
        name = string.match(name, '^[^\t]*') .. '\tother'
        held = redis.call('HGET', page, name)
        if days and not held then
          redis.call('HINCRBY', days, '\tothers', 1)
        end
      end
    end
    if held then
      vector = added(cmsgpack.unpack(held), vector)
    end
    redis.call('HSET', page, name, cmsgpack.pack(vector))
    if days then
      redis.call('HSET', days, name, ARGV[4])
    end
  end
  redis.call('PEXPIRE', page, addition[1])
  if days then
    redis.call('PEXPIRE', days, addition[1])
  end
end
return 1

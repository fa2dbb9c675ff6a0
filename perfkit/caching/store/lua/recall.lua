-- Returns named entries, each followed by the tokens of the tags that its first line names; last, those wanted.
-- The latter only where an entry is missing or void: then each tag without a token gets a new generation.
-- KEYS: entries, then tokens that are wanted.
-- ARGV: the new generation, a token's time to live in milliseconds, what every key begins with, how many are entries.
local prefix = ARGV[3]
local count = tonumber(ARGV[4])
local most_tags = 1000  -- beyond that nobody of us wrote it
local answers = {}
local are_current = true
for index = 1, count do
  local entry = redis.pcall('GET', KEYS[index])  -- an error, where the key is of a type that is not ours
  local answer = { false }
  if type(entry) == 'string' then
    local names, tokens = string.match(entry, '^([^\n]+)\n([^\n]*)\n')
    if names then
      local keys = {}
      for tag in string.gmatch(names, '[^ ]+') do
        keys[#keys + 1] = prefix .. tag
      end
      if #keys <= most_tags then
        local found = redis.call('MGET', unpack(keys))
        local known = true
        answer = { entry }
        for place, token in ipairs(found) do
          answer[place + 1] = token
          known = known and token
        end
        are_current = are_current and known and table.concat(found, ' ') == tokens
      end
    end
  end
  are_current = are_current and answer[1]
  answers[index] = answer
end
local taken = {}
if not are_current then
  for index = count + 1, #KEYS do
    local token = redis.pcall('GET', KEYS[index])
    if type(token) ~= 'string' then
      token = ARGV[1]
      redis.call('SET', KEYS[index], token, 'PX', ARGV[2])
    end
    taken[#taken + 1] = token
  end
end
answers[count + 1] = taken
return answers

-- Stores named entries with tokens as they are now; their own tags get a new generation.
-- KEYS: entries.
-- ARGV: the new generation, a token's time to live in milliseconds, what every key begins with, the entries' time
-- to live in seconds; then for each entry its own tag, all its tags with spaces between, and its body.
local prefix = ARGV[3]
for index, key in ipairs(KEYS) do
  redis.call('SET', prefix .. ARGV[2 + 3 * index], ARGV[1], 'PX', ARGV[2])
end
for index, key in ipairs(KEYS) do
  local names = ARGV[3 + 3 * index]
  local tokens = {}
  for tag in string.gmatch(names, '[^ ]+') do
    local token = redis.pcall('GET', prefix .. tag)  -- an error, where the key is of a type that is not ours
    if type(token) ~= 'string' then
      token = ARGV[1]
      redis.call('SET', prefix .. tag, token, 'PX', ARGV[2])
    end
    tokens[#tokens + 1] = token
  end
  redis.call('SET', key, names .. '\n' .. table.concat(tokens, ' ') .. '\n' .. ARGV[4 + 3 * index], 'EX', ARGV[4])
end
return #KEYS

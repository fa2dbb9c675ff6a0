-- Returns each tag's token, giving a new generation to those that have none.
-- KEYS: tokens. ARGV: the new generation, a token's time to live in milliseconds.
local tokens = {}
for index, key in ipairs(KEYS) do
  local token = redis.pcall('GET', key)  -- an error, where the key is of a type that is not ours
  if type(token) ~= 'string' then
    token = ARGV[1]
    redis.call('SET', key, token, 'PX', ARGV[2])
  end
  tokens[index] = token
end
return tokens

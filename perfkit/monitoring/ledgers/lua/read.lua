-- Returns what hashes hold, in two strings: the client reads them many times as fast as an answer for each field.
-- KEYS: the hashes. ARGV: the fields that are wanted; all of them where there are none.
-- The first string has, in msgpack, lengths for each hash: of the value of each wanted field, -1 where there is
-- none; or of each field's name and value in turn. The second is all of these, one after another.
local lengths, parts = {}, {}
for index, key in ipairs(KEYS) do
  local words = #ARGV == 0 and redis.call('HGETALL', key) or redis.call('HMGET', key, unpack(ARGV))
  local sizes = {}
  for at = 1, #words do
    sizes[at] = words[at] and #words[at] or -1
    if words[at] then
      parts[#parts + 1] = words[at]
    end
  end
  lengths[index] = sizes
end
return {cmsgpack.pack(lengths), table.concat(parts)}

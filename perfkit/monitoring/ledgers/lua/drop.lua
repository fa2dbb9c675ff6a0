-- Takes fields off a hash, or drops hashes where no field is named. KEYS: the hashes. ARGV: the fields.
if #ARGV == 0 then
  return redis.call('UNLINK', unpack(KEYS))
end
return redis.call('HDEL', KEYS[1], unpack(ARGV))

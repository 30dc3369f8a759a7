"""The Lua scripts of the membership table in Redis; each is one atomic step. Pure text; run by `redis.py`.

`KEYS[1]` is the hash with `incarnation`, `version` and a field per silo; `KEYS[2]` the hash with the alive times.
"""

from __future__ import annotations

# Arguments: incarnation and version expected (both '' for a fresh table), field, row etag expected ('' = no
# such row), row, alive, incarnation to draw.
CHANGE = """
local found = redis.call('HMGET', KEYS[1], 'incarnation', 'version', ARGV[3])
if (found[1] or '') ~= ARGV[1] or (found[2] or '') ~= ARGV[2] then return 0 end
local etag = ''
if found[3] then etag = cjson.decode(found[3]).etag end
if etag ~= ARGV[4] then return 0 end
if not found[1] then redis.call('HSET', KEYS[1], 'incarnation', ARGV[7]) end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
local alive = redis.call('HGET', KEYS[2], ARGV[3])
if not alive or alive < ARGV[6] then redis.call('HSET', KEYS[2], ARGV[3], ARGV[6]) end
return 1
"""

# Arguments: incarnation and version expected (both '' for a fresh table), incarnation and version to start with,
# then field, row and alive of each row.
REBUILD = """
local found = redis.call('HMGET', KEYS[1], 'incarnation', 'version')
if (found[1] or '') ~= ARGV[1] or (found[2] or '') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'incarnation', ARGV[3], 'version', ARGV[4])
for place = 5, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
  redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 2])
end
return 1
"""

# Arguments: field, alive.
ALIVE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local alive = redis.call('HGET', KEYS[2], ARGV[1])
if not alive or alive < ARGV[2] then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return 1
"""

# Arguments: the prefix of row fields, the status to keep, the time before which a row must be.
CLEANUP = """
local gone = 0
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local field = all[place]
  if string.sub(field, 1, #ARGV[1]) == ARGV[1] then
    local row = cjson.decode(all[place + 1])
    local alive = redis.call('HGET', KEYS[2], field) or row.started
    if row.status ~= ARGV[2] and row.started < ARGV[3] and alive < ARGV[3] then
      redis.call('HDEL', KEYS[1], field)
      redis.call('HDEL', KEYS[2], field)
      gone = gone + 1
    end
  end
end
if gone > 0 then redis.call('HINCRBY', KEYS[1], 'version', 1) end
return gone
"""

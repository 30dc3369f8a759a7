"""The scripts of state in Redis: each is one atomic step. `redis_keys.py` describes the keys. Pure.

A script finds the keys of indexes by the key of a record, so all keys must be on one server: a Redis Cluster, which
spreads keys, cannot be used. Generations and due times have fewer digits than Lua's numbers; claims and etags are
texts.
"""

from __future__ import annotations

import hashlib

# `home` is `<service>:<type>` as in keys. Minding the index: of the record that is replaced, and of the new one.
_RECORDS = r"""
local function plain(part) return (part:gsub('%%3A', ':'):gsub('%%25', '%%')) end
local function place(record)
  local service, kind, key, state = record:match('^grange:state:([^:]*):([^:]*):([^:]*):([^:]*)$')
  return service .. ':' .. kind, plain(key), state
end
local function unindex(record, index)
  local home, key, state = place(record)
  for _, entry in ipairs(cmsgpack.unpack(index)) do
    local field = home .. ':' .. state .. ':' .. entry[1]
    redis.call('ZREM', 'grange:index:' .. field, entry[2] .. '\0' .. key)
    if entry[3] then redis.call('HDEL', 'grange:unique:' .. field, entry[2]) end
  end
end
local function is_dead(key, generation)
  local dead = redis.call('GET', key)
  return dead and tonumber(dead) >= tonumber(generation)
end
local function store(record, etag, schema, writer, number, claim, payload)
  local fields = {'etag', etag}
  local function set(name, value) fields[#fields + 1] = name; fields[#fields + 1] = value end
  if claim ~= '' then set('claim', claim) end
  if writer ~= '' then set('writer', writer); set('number', number)
  else redis.call('HDEL', record, 'writer', 'number') end
  if payload then set('schema', schema); set('payload', payload) end
  local created = redis.call('HSET', record, unpack(fields))
  local cleared = not payload and redis.call('HDEL', record, 'payload') or 0
  if (payload and created or cleared) > 0 then
    local home, key, state = place(record)
    redis.call(payload and 'ZADD' or 'ZREM', 'grange:names:' .. home, unpack(
      payload and {0, key .. '\0' .. plain(state)} or {key .. '\0' .. plain(state)}))
  end
end
"""

# KEYS: the record, and the recorded death of its writer's endpoint. ARGV: the etag that must be stored (empty: none),
# the etag to store, the schema, the writer, its generation and the number of the change (empty: no writer), the claim
# that must be held (empty: any), and for a write the payload. Returns 1, or nothing if something does not hold.
WRITE = (
    _RECORDS
    + r"""
local held = redis.call('HMGET', KEYS[1], 'etag', 'claim', 'index')
if (held[1] or '') ~= ARGV[1] then return false end
if ARGV[7] ~= '' and held[1] and held[2] ~= ARGV[7] then return false end
if ARGV[4] ~= '' and is_dead(KEYS[2], ARGV[5]) then return false end
if held[3] then
  unindex(KEYS[1], held[3])
  redis.call('HDEL', KEYS[1], 'index')
end
store(KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[8])
return 1
"""
)

# KEYS: recorded deaths, records to write, records to check, answers, and hashes of reminders. ARGV[1]: these lists in
# MessagePack. Of a death: the generation. Of a write: etag that must be stored, etag to store (empty: nothing is
# stored), schema, writer, number, claim, whether it has a payload, and whether an index. Of a check: etag, claim. Of an
# answer: milliseconds. Of a reminder: its name, the etag that must be held or false, its slot, its member, its due
# time, and whether it has a value. Last, what keys of slots begin with. The other ARGV, in the order of the lists:
# payloads and indexes, answers, values of reminders. Everything is checked before the first change.
COMMIT = (
    _RECORDS
    + r"""
local deaths, writes, checks, answers, reminders, slots = unpack(cmsgpack.unpack(ARGV[1]))
local at, given = 0, 1
local function next_key() at = at + 1; return KEYS[at] end
local function next_value() given = given + 1; return ARGV[given] end
for _, generation in ipairs(deaths) do
  if is_dead(next_key(), generation) then return false end
end
local function held_by(record, etag, claim)
  local held = redis.call('HMGET', record, 'etag', 'claim', 'index')
  if (held[1] or '') ~= etag then return nil end
  if claim ~= '' and held[1] and held[2] ~= claim then return nil end
  return held
end
local free, taken, unique = {}, {}, {}
for _, write in ipairs(writes) do
  local record = next_key()
  local held = held_by(record, write[1], write[6])
  if not held then return false end
  write.record, write.indexed = record, held[3]
  write.payload, write.index = write[7] and next_value(), write[8] and next_value()
  if held[3] or write.index then
    local home, key, state = place(record)
    write.home, write.key = home .. ':' .. state .. ':', key
    for _, entry in ipairs(held[3] and cmsgpack.unpack(held[3]) or {}) do
      if entry[3] then free[write.home .. entry[1] .. '\0' .. entry[2]] = true end
    end
    write.entries = write.index and cmsgpack.unpack(write.index) or {}
    for _, entry in ipairs(write.entries) do
      if entry[3] then unique[#unique + 1] = {write.home .. entry[1], entry[2]} end
    end
  end
end
for _, check in ipairs(checks) do
  if not held_by(next_key(), check[1], check[2]) then return false end
end
for _, value in ipairs(unique) do
  local name = value[1] .. '\0' .. value[2]
  if taken[name] then return false end
  taken[name] = true
  if not free[name] and redis.call('HGET', 'grange:unique:' .. value[1], value[2]) then return false end
end
local answer_keys = {}
for place in ipairs(answers) do
  answer_keys[place] = next_key()
  if redis.call('GET', answer_keys[place]) then return false end
end
for _, reminder in ipairs(reminders) do
  reminder.key = next_key()
  local row = redis.call('HGET', reminder.key, reminder[1])
  local etag, slot = false, nil
  if row then etag, slot = row:match('^([^%z]*)%z([^%z]*)') end
  if etag ~= reminder[2] then return false end
  reminder.slot = slot
end

for _, write in ipairs(writes) do
  if write.indexed then unindex(write.record, write.indexed) end
end
for _, write in ipairs(writes) do
  if write[2] ~= '' then
    store(write.record, write[2], write[3], write[4], write[5], write[6], write.payload)
    if write.index then redis.call('HSET', write.record, 'index', write.index)
    elseif write.indexed then redis.call('HDEL', write.record, 'index') end
    for _, entry in ipairs(write.entries or {}) do
      redis.call('ZADD', 'grange:index:' .. write.home .. entry[1], 0, entry[2] .. '\0' .. write.key)
      if entry[3] then redis.call('HSET', 'grange:unique:' .. write.home .. entry[1], entry[2], write.key) end
    end
  end
end
for place, answer in ipairs(answers) do
  redis.call('SET', answer_keys[place], next_value(), 'PX', answer)
end
for _, reminder in ipairs(reminders) do
  if reminder.slot then redis.call('ZREM', slots .. reminder.slot, reminder[4]) end
  if reminder[6] then
    redis.call('HSET', reminder.key, reminder[1], next_value())
    redis.call('ZADD', slots .. reminder[3], reminder[5], reminder[4])
  else
    redis.call('HDEL', reminder.key, reminder[1])
  end
end
return 1
"""
)

# KEYS: the record, and the recorded death of the claimer's endpoint. ARGV: the claim, the claimer's generation (empty:
# none), and the fields to read. Returns them, or nothing if the claimer is dead.
CLAIM = r"""
if ARGV[2] ~= '' then
  local dead = redis.call('GET', KEYS[2])
  if dead and tonumber(dead) >= tonumber(ARGV[2]) then return false end
end
if redis.call('HEXISTS', KEYS[1], 'etag') == 1 then redis.call('HSET', KEYS[1], 'claim', ARGV[1]) end
return redis.call('HMGET', KEYS[1], unpack(ARGV, 3))
"""

# ARGV: the service as in keys, the first and the last due time, the most reminders to return, and the slots. Returns
# members and values of the earliest. Once enough are found, later slots are read only up to the latest of them.
DUE = r"""
local last, limit = ARGV[3], tonumber(ARGV[4])
local function before(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  for at = 1, math.min(#a[2], #b[2]) do
    local x, y = a[2]:byte(at), b[2]:byte(at)
    if x ~= y then return x < y end
  end
  return #a[2] < #b[2]
end
local found = {}
local function cut()
  table.sort(found, before)
  for at = #found, limit + 1, -1 do found[at] = nil end
end
for at = 5, #ARGV do
  local slot = 'grange:due:' .. ARGV[1] .. ':' .. ARGV[at]
  local members = redis.call('ZRANGEBYSCORE', slot, ARGV[2], last, 'WITHSCORES', 'LIMIT', 0, limit)
  for place = 1, #members, 2 do
    local due = members[place + 1]
    found[#found + 1] = {tonumber(due), members[place], due}
  end
  if #found >= 2 * limit then
    cut()
    last = found[limit][3]
  end
end
cut()
local function escaped(part) return (part:gsub('%%', '%%25'):gsub(':', '%%3A')) end
local rows = {}
for _, each in ipairs(found) do
  local kind, key, name = each[2]:match('^([^%z]*)%z([^%z]*)%z([^%z]*)$')
  rows[#rows + 1] = each[2]
  local reminders = 'grange:reminders:' .. ARGV[1] .. ':' .. escaped(kind) .. ':' .. escaped(key)
  rows[#rows + 1] = redis.call('HGET', reminders, name)
end
return rows
"""

# KEYS: the recorded death of one endpoint. ARGV: the generation, and the seconds that the record is kept.
RECORD_DEATH = """
local dead = redis.call('GET', KEYS[1])
if not dead or tonumber(dead) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

FIELDS = ("payload", "etag", "schema", "writer", "number", "claim")
"""The fields of a record's hash that a read returns."""


def sha_of(script: str) -> str:
    """The name under which a server keeps a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

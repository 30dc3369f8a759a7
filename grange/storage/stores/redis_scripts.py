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
local function place_of(record)
  local service, kind, key, state = record:match('^grange:state:([^:]*):([^:]*):([^:]*):([^:]*)$')
  return service .. ':' .. kind, plain(key), state
end
local function unindex(record, index)
  local home, key, state = place_of(record)
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
  if writer == '' then redis.call('HDEL', record, 'writer', 'number') end
  local fields = {'etag', etag}
  if claim ~= '' then fields = {'etag', etag, 'claim', claim} end
  local count = #fields
  if writer ~= '' then
    fields[count + 1], fields[count + 2], fields[count + 3], fields[count + 4] = 'writer', writer, 'number', number
    count = count + 4
  end
  if payload then
    fields[count + 1], fields[count + 2], fields[count + 3], fields[count + 4] = 'schema', schema, 'payload', payload
    fields[count + 5], fields[count + 6] = 'listed', '1'
  end
  local created = redis.call('HSET', record, unpack(fields))
  local cleared = not payload and redis.call('HDEL', record, 'payload', 'listed') or 0
  if (payload and created or cleared) > 0 then
    local home, key, state = place_of(record)
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

# KEYS: recorded deaths, records to write, records to check, answers, and hashes of reminders. ARGV: how many there are
# of each, and what keys of slots begin with. Then for each key, in this order. Of a death: the generation. Of a write:
# etag that must be stored, etag to store (empty: nothing is stored), schema, writer, number, claim, whether it has a
# payload, the payload, the index (empty: none). Of a check: etag, claim. Of an answer: its value, milliseconds. Of a
# reminder: its name, whether there must be a row, the etag that it must have, its slot, member, due time, and its value
# (empty: remove it). Everything is checked before the first change. Arguments in tables would cost twice the time.
COMMIT = (
    _RECORDS
    + r"""
local slots, key, first = ARGV[6], 0, 7
local function each(kind, width)
  local keys, arguments, count = key, first, tonumber(ARGV[kind])
  key, first = key + count, first + count * width
  return keys, arguments, count
end
local keys, at, count = each(1, 1)
for place = 1, count do
  if is_dead(KEYS[keys + place], ARGV[at + place - 1]) then return false end
end

local old = {}
local function held_by(record, etag, claim)
  local held = redis.call('HMGET', record, 'etag', 'claim', 'index')
  if (held[1] or '') ~= etag or claim ~= '' and held[1] and held[2] ~= claim then return false end
  if held[3] then old[record] = held[3] end
  return true
end
local records, writes, written = each(2, 9)
local is_indexed = false
for place = 1, written do
  local write = writes + place * 9 - 9
  if not held_by(KEYS[records + place], ARGV[write], ARGV[write + 5]) then return false end
  is_indexed = is_indexed or ARGV[write + 8] ~= ''
end
keys, at, count = each(3, 2)
for place = 1, count do
  if not held_by(KEYS[keys + place], ARGV[at + place * 2 - 2], ARGV[at + place * 2 - 1]) then return false end
  old[KEYS[keys + place]] = nil
end

if is_indexed then
  local free, taken = {}, {}
  for record, index in pairs(old) do
    local home, _, state = place_of(record)
    for _, entry in ipairs(cmsgpack.unpack(index)) do
      if entry[3] then free[home .. ':' .. state .. ':' .. entry[1] .. '\0' .. entry[2]] = true end
    end
  end
  for place = 1, written do
    local index = ARGV[writes + place * 9 - 1]
    local home, _, state = place_of(KEYS[records + place])
    for _, entry in ipairs(index ~= '' and cmsgpack.unpack(index) or {}) do
      local field = home .. ':' .. state .. ':' .. entry[1]
      local value = field .. '\0' .. entry[2]
      if entry[3] then
        if taken[value] then return false end
        if not free[value] and redis.call('HGET', 'grange:unique:' .. field, entry[2]) then return false end
        taken[value] = true
      end
    end
  end
end

local answer_keys, answers, answered = each(4, 2)
for place = 1, answered do
  if redis.call('GET', KEYS[answer_keys + place]) then return false end
end
local reminder_keys, reminders, reminded = each(5, 7)
local old_slots = {}
for place = 1, reminded do
  local reminder = reminders + place * 7 - 7
  local row = redis.call('HGET', KEYS[reminder_keys + place], ARGV[reminder])
  if (row and '1' or '') ~= ARGV[reminder + 1] then return false end
  if row then
    local etag, slot = row:match('^([^%z]*)%z([^%z]*)')
    if etag ~= ARGV[reminder + 2] then return false end
    old_slots[place] = slot
  end
end

for record, index in pairs(old) do unindex(record, index) end
for place = 1, written do
  local write, record = writes + place * 9 - 9, KEYS[records + place]
  if ARGV[write + 1] ~= '' then
    store(record, ARGV[write + 1], ARGV[write + 2], ARGV[write + 3], ARGV[write + 4], ARGV[write + 5],
      ARGV[write + 6] ~= '' and ARGV[write + 7])
    local index = ARGV[write + 8]
    if index ~= '' then
      redis.call('HSET', record, 'index', index)
      local home, key, state = place_of(record)
      for _, entry in ipairs(cmsgpack.unpack(index)) do
        local field = home .. ':' .. state .. ':' .. entry[1]
        redis.call('ZADD', 'grange:index:' .. field, 0, entry[2] .. '\0' .. key)
        if entry[3] then redis.call('HSET', 'grange:unique:' .. field, entry[2], key) end
      end
    elseif old[record] then
      redis.call('HDEL', record, 'index')
    end
  end
end
for place = 1, answered do
  local answer = answers + place * 2 - 2
  redis.call('SET', KEYS[answer_keys + place], ARGV[answer], 'PX', ARGV[answer + 1])
end
for place = 1, reminded do
  local reminder, hash = reminders + place * 7 - 7, KEYS[reminder_keys + place]
  local member = ARGV[reminder + 4]
  if old_slots[place] then redis.call('ZREM', slots .. old_slots[place], member) end
  if ARGV[reminder + 6] ~= '' then
    redis.call('HSET', hash, ARGV[reminder], ARGV[reminder + 6])
    redis.call('ZADD', slots .. ARGV[reminder + 3], ARGV[reminder + 5], member)
  else
    redis.call('HDEL', hash, ARGV[reminder])
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

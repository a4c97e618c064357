"""What Redis is asked, each in one step.

KEYS[1] is the hash, KEYS[2] a topic's stream; ARGV[1] what the hash is called if it is empty. In
the hash, fields that begin with "@" are the engine's own: the others are its keys.
"""

from __future__ import annotations

import hashlib
from typing import Final

_HEAD: Final = """
local said = redis.call('INFO', 'replication')
if not string.find(said, 'role:master', 1, true) then
  return redis.error_reply('READONLY it is a replica')
end
local token = redis.call('HGET', KEYS[1], '@identity')
if not token then
  token = ARGV[1]
  redis.call('HSET', KEYS[1], '@identity', token)
end
local time = redis.call('TIME')
local function answer(value)
  return {string.match(said, 'master_replid:(%w+)'), token, time[1], time[2], value}
end
"""


class Script:
    """A script, and what Redis knows it by."""

    def __init__(self, text: str) -> None:
        self.text = _HEAD + text
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


GET: Final = Script("return answer(redis.call('HGET', KEYS[1], ARGV[2]))")

SCAN: Final = Script("""
local all = redis.call('HGETALL', KEYS[1])
local found = {}
for at = 1, #all, 2 do
  local key = all[at]
  if string.sub(key, 1, #ARGV[2]) == ARGV[2] and string.sub(key, 1, 1) ~= '@' then
    found[#found + 1] = key
    found[#found + 1] = all[at + 1]
  end
end
return answer(found)
""")

CAS: Final = Script("""
local now = redis.call('HGET', KEYS[1], ARGV[2])
if now ~= (ARGV[3] == '1' and ARGV[4]) then
  return answer(0)
end
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[6])
else
  redis.call('HDEL', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return answer(1)
""")

PUBLISH: Final = Script("""
local field = '@last ' .. KEYS[2]
local count = string.match(redis.call('HGET', KEYS[1], field) or ':0', ':(%d+)$') + 1
count = string.format('%.0f', count)
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[3], '*', 'n', count, 'd', ARGV[2])
local oldest = string.format('%.0f', time[1] * 1000 - ARGV[4])
redis.call('XTRIM', KEYS[2], 'MINID', '=', oldest)
redis.call('HSET', KEYS[1], field, id .. ':' .. count)
redis.call('PUBLISH', KEYS[1], KEYS[2])
return answer(1)
""")

READ: Final = Script("""
local function parsed(cursor)
  local id, ms, seq, count = string.match(cursor, '^((%d+)-(%d+)):(%d+)$')
  return id, tonumber(ms), tonumber(seq), tonumber(count)
end
local last = redis.call('HGET', KEYS[1], '@last ' .. KEYS[2]) or '0-0:0'
local _, last_ms, last_seq, last_count = parsed(last)
local id, ms, seq, count = parsed(ARGV[2])
if not id or ms > last_ms or (ms == last_ms and seq >= last_seq) then
  return answer({last, 0})
end
local page, size, missed = {}, 0, nil
local found = redis.call('XRANGE', KEYS[2], '(' .. id, '+', 'COUNT', ARGV[3])
for _, each in ipairs(found) do
  if size >= tonumber(ARGV[4]) then break end
  local number, data = each[2][2], each[2][4]
  missed = missed or number - count - 1
  page[#page + 1] = data
  size = size + #data
  last = each[1] .. ':' .. number
end
missed = missed or last_count - count
if missed < 0 then missed = 0 end
return answer({last, missed, unpack(page)})
""")
"""A cursor ahead of all is of before the server forgot something: it becomes the last."""

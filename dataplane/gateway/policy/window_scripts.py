"""Lua scripts that compute the sliding window of one key of a limit in Redis, by Redis's own clock.

Each script touches only its one key; a reset also touches the mark of its order. Times are microseconds. A take answers
four numbers: how long to wait (0: it has taken), the tokens that are left, how long until all have come back, and the
slot that it took from.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

SLOTS: Final = 100
"""Parts of a window that is counted by slots."""
MOST_WINDOWS: Final = 50
"""Windows over which an overdraft is spread; tokens beyond these come back with the last window."""

_PRELUDE: Final = """
local name = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end
"""

TAKE_MEMBERS: Final = (
    _PRELUDE
    + """
-- Takes from a sorted set with a member for each token: ARGV window, burst, cost, id.
local window, burst, cost, id = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

local function expire() redis.call('PEXPIRE', name, math.ceil(window / 1000) + 1) end

local function add(tokens, called)
  for first = 1, tokens, 1000 do
    local members = {}
    for each = first, math.min(tokens, first + 999) do
      members[#members + 1] = whole(now)
      members[#members + 1] = tokens == 1 and called or called .. ':' .. each
    end
    redis.call('ZADD', name, unpack(members))
  end
end

local dropped = redis.pcall('ZREMRANGEBYSCORE', name, '-inf', whole(now - window))
if type(dropped) == 'table' then
  if not string.find(dropped.err, 'WRONGTYPE') then return dropped end
  -- The limit was larger before, and counted by slots.
  local kept = math.min(tonumber(redis.call('HGET', name, 'used')), burst)
  redis.call('DEL', name)
  add(kept, 'kept')
  expire()
end
local used = redis.call('ZCARD', name)
local more = used + cost - burst
if more > 0 then
  local last = tonumber(redis.call('ZRANGE', name, more - 1, more - 1, 'WITHSCORES')[2])
  if last > now then
    -- The clock has gone back: what it counted ahead counts from now on.
    add(redis.call('ZREMRANGEBYSCORE', name, '(' .. whole(now), '+inf'), 'ahead:' .. id)
    expire()
    last = now
  end
  return {last + window - now, math.max(0, burst - used), window, 0}
end
add(cost, id)
expire()
return {0, -more, window, 0}
"""
)

_SLOTS: Final = (
    _PRELUDE
    + f"local SLOTS, MOST = {SLOTS}, {MOST_WINDOWS}"
    + """
-- A hash of tokens by slot, a hundredth of the window; `size` of a slot, tokens `used`, `oldest` and `newest` slot.
local size, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local current = math.floor(now / size)
local used, oldest, newest = 0, current, current

-- The slots that count, the oldest first; what has left the window is dropped.
local function slots(first)
  local found, gone, all = {}, {}, redis.call('HGETALL', name)
  for each = 1, #all, 2 do
    local slot = tonumber(all[each])
    if slot and slot >= first then
      found[#found + 1] = {slot, tonumber(all[each + 1])}
    elseif slot then
      gone[#gone + 1] = all[each]
      used = used - all[each + 1]
    end
  end
  if #gone > 0 then redis.call('HDEL', name, unpack(gone)) end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found
end

-- What is beyond the burst is taken from the windows to come.
local function add(tokens)
  while tokens > 0 do
    local ahead = math.min(math.floor(used / burst), MOST)
    local part = ahead == MOST and tokens or math.min(tokens, (ahead + 1) * burst - used)
    local slot = current + ahead * SLOTS
    redis.call('HINCRBY', name, whole(slot), whole(part))
    used, tokens, newest = used + part, tokens - part, math.max(newest, slot)
  end
end

-- Another form, another window, or a clock that has gone back: what was taken counts from now on, which frees nobody.
local function begin_with(tokens)
  redis.call('DEL', name)
  used = 0
  add(tokens)
end

local head = redis.pcall('HMGET', name, 'size', 'used', 'oldest', 'newest')
if head.err then
  if not string.find(head.err, 'WRONGTYPE') then return head end
  begin_with(redis.call('ZCOUNT', name, '(' .. whole(now - size * SLOTS), '+inf'))
elseif head[1] then
  local before = tonumber(head[1])
  used = tonumber(head[2])
  -- What an overdraft explains, and a window more: that much longer a caller may have to wait.
  local farthest = current + (math.min(math.floor(used / burst), MOST) + 1) * SLOTS
  if before ~= size or tonumber(head[4]) > farthest then
    slots(math.floor(now / before) - SLOTS)
    begin_with(used)
  else
    oldest, newest = tonumber(head[3]), math.max(current, tonumber(head[4]))
    if oldest < current - SLOTS then
      local left = slots(current - SLOTS)
      oldest = math.min(current, left[1] and left[1][1] or current)
    end
  end
end

local function free_at(slot) return (slot + SLOTS + 1) * size end

local function save()
  redis.call('HSET', name, 'size', whole(size), 'used', whole(used))
  redis.call('HSET', name, 'oldest', whole(oldest), 'newest', whole(newest))
  redis.call('PEXPIRE', name, math.ceil((free_at(newest) - now) / 1000) + 1)
end
"""
)

TAKE_SLOTS: Final = (
    _SLOTS
    + """
-- Takes: ARGV size, burst, cost.
local cost = tonumber(ARGV[3])
local more = used + cost - burst
local wait = 0
if more > 0 then
  for _, each in ipairs(slots(current - SLOTS)) do
    more = more - each[2]
    if more <= 0 then
      wait = free_at(each[1]) - now
      break
    end
  end
else
  add(cost)
end
save()
return {wait, math.max(0, burst - used), free_at(newest) - now, current}
"""
)

CHARGE_SLOTS: Final = (
    _SLOTS
    + """
-- Takes what a request has cost beyond its cost, below zero if need be: ARGV size, burst, tokens.
add(tonumber(ARGV[3]))
save()
return {0, math.max(0, burst - used), free_at(newest) - now, current}
"""
)

GIVE_BACK_SLOTS: Final = (
    _SLOTS
    + """
-- Puts back what a request took that was not let through, or that cost less: ARGV size, burst, tokens, slot.
local held = tonumber(redis.call('HGET', name, ARGV[4]) or 0)
local back = math.min(held, tonumber(ARGV[3]))
if back > 0 then
  redis.call('HINCRBY', name, ARGV[4], whole(-back))
  used = used - back
end
if redis.call('EXISTS', name) == 1 then save() end
return {0, math.max(0, burst - used), 0, 0}
"""
)

RESET: Final = """
-- Forgets what a key has taken, once for each order: every worker of every data plane is told.
-- KEYS key, mark of the order; ARGV seconds that the mark is kept.
if redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
"""

SCRIPTS: Final = (TAKE_MEMBERS, TAKE_SLOTS, CHARGE_SLOTS, GIVE_BACK_SLOTS, RESET)
"""All scripts that a server must have before it is asked."""


def digest(script: str) -> bytes:
    """The name that EVALSHA calls a script by."""
    return sha1(script.encode(), usedforsecurity=False).hexdigest().encode()

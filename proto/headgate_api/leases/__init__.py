"""Fleet-wide limits: the arithmetic of both ends (docs/decisions/0009-fleet-limits.md).

A limit has one owner and any number of holders (workers). Tokens are leased to holders; a request takes tokens that its
worker holds. In any window of T seconds, by the owner's clock, all holders admit at most `rate * T + burst`.

Pure: time is an argument, in seconds of the caller's monotonic clock. It is part of the wire protocol, like the
messages: two ends that compute differently break the bound.
"""

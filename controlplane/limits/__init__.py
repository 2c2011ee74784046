"""Limits of the whole fleet: ownership by control planes, and answers to holders
(docs/decisions/0009-fleet-limits.md).

Each limit lies in one of 64 partitions, each partition has one owner among the control planes (`claims`), and the owner
keeps the books of its limits (`desk`). The store has the data for the next owner (`floors`).
"""

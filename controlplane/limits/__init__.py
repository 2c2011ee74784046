"""Limits of the whole fleet: which control plane owns which, and what it answers (docs/decisions/0009-fleet-limits.md).

Each limit lies in one of 64 partitions, each partition has one owner among the control planes (`claims`), and the owner
keeps the books of its limits (`desk`). What the next owner has to know is in the store (`floors`).
"""

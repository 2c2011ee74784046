"""The store: a narrow interface, etcd behind it, and a working fake for unit tests."""

from __future__ import annotations

from controlplane.store.election import Deposed, Election, FencedStore
from controlplane.store.errors import (
    AccessDenied,
    Compacted,
    Conflict,
    LeaseGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
)
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_settings import EtcdSettings
from controlplane.store.memory import MemoryStore
from controlplane.store.protocol import (
    MAX_OPERATIONS,
    MAX_REQUEST_BYTES,
    Batch,
    Delete,
    Entry,
    Listing,
    Put,
    Store,
    Write,
)

__all__ = [
    "MAX_OPERATIONS",
    "MAX_REQUEST_BYTES",
    "AccessDenied",
    "Batch",
    "Compacted",
    "Conflict",
    "Delete",
    "Deposed",
    "Election",
    "Entry",
    "EtcdSettings",
    "EtcdStore",
    "FencedStore",
    "LeaseGone",
    "Listing",
    "MemoryStore",
    "Put",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TooLarge",
    "Write",
]

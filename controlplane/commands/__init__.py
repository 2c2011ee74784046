"""All changes go through this package: those of the admin API, of the registry and of the start.

    request → plan function (`plans`, pure) → executor → store

Each transaction expects the revisions that its plan has read. Changes of configuration also expect the change entry.
They therefore happen one after the other, and checks made before a write still hold at the write.
"""

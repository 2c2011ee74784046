"""The one way to change anything: the admin API, the registry and the start all go through here.

    request → plan function (`plans`, pure) → executor → store

Each transaction expects the revisions that its plan has read. Changes of configuration also expect the change entry,
so that they happen one after the other, and what was checked before a write still holds at the write.
"""

"""The fleet of data planes: its nodes, views over all of them, and waits for their progress.

    config stream ─▶ Fleet ─▶ Overview ─▶ admin API, registry
    Peers, Links ◀──▶ Fleet ─▶ Tally ─▶ Waiting

`Fleet` implements what `distribute.hub` asks of it (`Nodes`), and knows nothing of the hub.
"""

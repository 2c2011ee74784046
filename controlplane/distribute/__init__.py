"""From the store to the data planes: watch, publish, fan out.

store ─▶ Watcher ─▶ snapshot ─▶ Hub ─▶ Session (Subscriber) ─▶ stream
"""

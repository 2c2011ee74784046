"""Redis, where limits of mode `redis` are counted: the connections to it, and the questions of requests.

The gateway calls `store`; `link` keeps the connection to one server; `connection` speaks the protocol; `discovery`
finds the servers of Sentinels or of a Cluster. The only part of a worker, beside the proxy, that does I/O for
requests.
"""

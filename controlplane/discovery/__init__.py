"""Discovery: finds the instances of services at their sources, and writes them like any other writer of instances.

    service.discovery ─▶ Discoverer ─▶ a source for each DNS name and each namespace of Kubernetes
                                           │ Answer
                                           ▼
                         plan `discover` ─▶ executor ─▶ etcd, one entry for each service

One elected control plane runs it, so that every control plane publishes the same. `answer`, `slices`, `records`,
`intervals` and `backoff` are pure; `kubernetes_api`, `namespace` and `dns` do the I/O.
"""

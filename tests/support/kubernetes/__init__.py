"""A Kubernetes cluster of one node, built from Go modules and run within namespaces of its own.

`make kubernetes` runs `tests/kubernetes` in it; docs/explanation/test-cluster.md describes it. The parts:

- `tools`: builds Kubernetes and containerd into a folder outside the repository
- `isolation`, `init`, `inside`: the namespaces, their first process, and the run within them
- `network`, `credentials`, `control_plane`, `node`, `dns`: the parts of the cluster; `cluster` starts them
- `archives`, `checkout`, `images`: images for the node, without a registry and without Docker
- `kubectl`: all that the tests need of a cluster; it works with every kubeconfig
"""

"""A Kubernetes cluster of two nodes, built from Go modules and run within namespaces of its own.

`make kubernetes` runs `tests/kubernetes` in it; docs/explanation/test-cluster.md describes it. The parts:

- `tools`: builds Kubernetes and containerd into a folder outside the repository
- `isolation`, `init`, `inside`: the namespaces, their first process, and the run within them
- `network`, `mounts`, `credentials`, `control_plane`, `node`, `second`, `dns`, `storage`: parts
  that `cluster` starts
- `archives`, `checkout`, `images`, `older`: images for the nodes, without a registry and without Docker
- `kubectl`, `helm`: all that the tests need of a cluster; they work with every kubeconfig
- `release`, `manifests`, `metrics_api`, `load`, `workloads`: a gateway in a namespace, and load on it
"""

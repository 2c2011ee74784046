"""Tests in a real Kubernetes cluster: `make kubernetes`, or KUBECONFIG=… make kubernetes."""

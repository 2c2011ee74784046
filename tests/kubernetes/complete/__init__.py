"""One release with everything that the chart can bring by itself: etcd, secrets, certificates, policies."""

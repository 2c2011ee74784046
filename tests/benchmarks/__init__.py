"""Benchmarks: `make bench` measures one worker against nginx and Envoy on the same work."""

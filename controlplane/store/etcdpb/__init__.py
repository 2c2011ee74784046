"""Generated from headgate_etcd.proto by `make proto`: our wire-compatible part of etcd's v3 API."""

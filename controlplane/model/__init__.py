"""The model of a configuration: resources, whole documents, snapshots. Pure: no I/O, no clock."""

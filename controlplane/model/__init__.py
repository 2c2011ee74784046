"""What a configuration is: resources, whole documents, snapshots. Pure: no I/O, no clock."""

"""The commands: pure functions from a view and a request to a plan. They do no I/O and read no clock."""

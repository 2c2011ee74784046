"""The state of the fleet as the dashboard shows it: what is wrong, and each data plane; kept up to date by streams."""

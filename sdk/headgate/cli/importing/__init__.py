"""Translates configuration files of other products. Pure, except for `command`."""

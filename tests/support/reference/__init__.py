"""The pages of docs/reference that are generated from the code, so that facts of the code are not repeated by hand.

`make docs` writes them; `make check` fails if one is stale. Each module renders a page; `__main__` has the list.
"""

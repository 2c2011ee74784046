"""The pages of docs/reference that are made from the code: what stands in code stands in no page by hand.

`make docs` writes them; `make check` fails when one is stale. Each module renders a page; `__main__` has the list.
"""

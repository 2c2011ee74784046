"""`make bench-config`: how fast configuration gets to data planes, and what that costs."""

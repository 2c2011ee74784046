"""`make bench ONLY=limits`: what limits cost one worker, and what a limit of the whole fleet lets through."""

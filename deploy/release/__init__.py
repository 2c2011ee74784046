"""`make release VERSION=X.Y.Z`: a release as one command, tried first with `DRY_RUN=1`.

Everything is made in a temporary clone. The checkout gets the commit and its tag at the end, when all has succeeded;
in a dry run it gets nothing.
"""

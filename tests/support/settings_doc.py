"""All generated pages, by their former name: `python -m tests.support.reference`."""

from __future__ import annotations

import sys

from tests.support.reference.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

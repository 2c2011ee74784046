"""`python -m dataplane.worker <options as JSON>`: one worker process, started by the supervisor."""

from __future__ import annotations

import sys

from dataplane.worker.worker import main

sys.exit(main())

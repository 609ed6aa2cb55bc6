"""The data path as plain functions: search, download, clips, near-duplicates, shards, and what they stand on.

Nothing here imports Dagster, torch, scikit-learn or a web framework (held by import-linter), so that every
function runs the same in a test, a notebook, a worker process or a cluster task.
"""

import os as _os
import sys as _sys

# Read when Arrow is imported. Its own choice, mimalloc, keeps what was freed: `status` and the report over 1.25 million
# clips hold 554 and 613 MB with it, 391 and 401 MB with jemalloc, in the same time (`lampworks bench growth`).
if _sys.platform == "linux":
    _os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

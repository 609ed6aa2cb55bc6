"""The data path as plain functions: search, download, clips, near-duplicates, shards, and what they stand on.

Nothing here imports Dagster, torch, scikit-learn or a web framework (held by import-linter), so that every
function runs the same in a test, a notebook, a worker process or a cluster task.
"""

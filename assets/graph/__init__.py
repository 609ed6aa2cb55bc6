"""The Dagster graph: one file per asset group, its checks, jobs, partitions and resources."""

"""What an operator touches: the Dagster graph, its jobs and driver, and the `lampworks` command.

Work lives in `pipeline`, `classifier` and `models` as plain functions. An asset gathers inputs, calls one of them and
returns the numbers and charts that a person wants to see.
"""

import pipeline  # noqa: F401 - before Arrow: it says which memory Arrow takes

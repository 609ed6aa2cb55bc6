"""The `lampworks` command: one file per group of commands."""

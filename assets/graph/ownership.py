"""Who answers for the assets. Dagster shows it on their pages and filters by it."""

OWNERS = ["team:lampworks"]

"""A supervised pool of worker processes: death, deadlines and poison items are handled."""

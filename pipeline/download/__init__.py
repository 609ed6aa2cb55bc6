"""Downloads of a batch: schedule, rate limits, circuit breaker, disk budget, verification, ledger."""

"""What each stage has cost, booked per batch, and what it would cost at another size."""

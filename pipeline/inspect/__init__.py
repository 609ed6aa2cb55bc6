"""What a person asks of a store: status, why, export, doctor, and the balance of every total."""

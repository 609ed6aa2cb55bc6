"""What starts runs without a person: the weekly schedule and the sensor of due batches."""

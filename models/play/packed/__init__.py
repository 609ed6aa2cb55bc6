"""A world packed into one folder or one tar, which plays on another machine without a store."""

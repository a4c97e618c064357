"""A running app, as its clients see it: which one, what it tells, which of its services."""

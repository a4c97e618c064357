"""How services come up, go down, and are supervised."""

"""The records of a tree that hold each other, and what may be asked of them."""

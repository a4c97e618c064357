"""What can be seen of a tree at any time, without blocking."""

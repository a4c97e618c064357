"""What concerns the process that a tree lives in: forks, its end."""

"""What is written to a terminal, or to whatever stdout and stderr are. Knows nothing of apps."""

"""The command line as it is typed: one module for each command, with its options and its help."""

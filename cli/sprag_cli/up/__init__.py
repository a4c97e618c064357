"""``sprag up``: programs and services from a file, without writing Python."""

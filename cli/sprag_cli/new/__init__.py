"""``sprag init``: the beginning of a project."""

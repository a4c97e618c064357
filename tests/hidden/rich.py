"""Stands before rich in the processes that tests start, and is not there.

structlog loads it where it finds it, for a traceback that sprag never asks it for: a fifth of what
the start of an app costs. It is installed where the tools of sprag's development are.
"""

raise ImportError("tests/hidden")

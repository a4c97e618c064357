"""The parent of an app's workers: processes of one command line that share its sockets.

What a worker itself knows of being one is in `sprag.process.worker`.
"""

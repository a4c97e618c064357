"""``sprag run``: an app as a process. Only this and `check` load sprag, and with it gevent."""

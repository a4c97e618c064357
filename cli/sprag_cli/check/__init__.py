"""``sprag check``: what is likely wrong with an app that has not been started."""

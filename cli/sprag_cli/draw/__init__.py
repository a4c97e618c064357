"""What the commands that look show: each asks the app, and turns what it tells into lines."""

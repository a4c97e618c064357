"""What is decided, and by what: states, policies, restarts. No gevent, no clock, no logging."""

"""The process that a tree runs in: signals, its end, systemd, the watchdog, plain greenlets."""

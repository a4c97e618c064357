"""What a service owns while it lives: timers, listeners, greenlets of threads, its log."""

"""How greenlets wait for each other and share their work. Knows no service."""

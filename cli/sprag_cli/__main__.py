"""``python -m sprag_cli`` is ``sprag``."""

from sprag_cli import main

if __name__ == "__main__":
    main()

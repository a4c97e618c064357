"""For servers that call the app in threads: its tree runs in the one that has loaded it."""

from __future__ import annotations

from served.shop import app, application  # type: ignore[import-not-found]

__all__ = ["application"]

app.start()

"""The app that all contenders serve: `app` for sprag, `application` for WSGI servers."""

from __future__ import annotations

from sprag import App

app = App(name="shop", routes=f"{__package__}.routes")
application = app.wsgi

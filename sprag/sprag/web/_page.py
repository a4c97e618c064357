"""The page that a shell gets: what a controller has produced for a browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from werkzeug.wrappers import Request


@dataclass(frozen=True, slots=True)
class Page:
    """One page for a browser, still without its frame.

    Attributes:
        body: The page's own HTML; what comes from data in it is escaped.
        title: The controller's ``title``, or made from its name.
        data: What the controller has returned; of an error page ``status``, ``error``,
            ``message`` and ``request_id``.
        request: The Werkzeug request.
        app: The app's name.
    """

    body: Markup
    title: str
    data: Any
    request: Request
    app: str = "app"

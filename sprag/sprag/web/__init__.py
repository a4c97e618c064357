"""Routes, pages and the web server; what it needs comes with the extra ``web``.

Importing this package loads neither Werkzeug nor Jinja2: they come with the first app
that has routes.
"""

from sprag.web._controller import Controller, redirect
from sprag.web._limits import Limits
from sprag.web._page import Page
from sprag.web._shell import shell
from sprag.web.exceptions import (
    BadController,
    FileMissing,
    HTTPError,
    MissingExtra,
    RoutesMissing,
    SameRoute,
)

__all__ = [
    "BadController",
    "Controller",
    "FileMissing",
    "HTTPError",
    "Limits",
    "MissingExtra",
    "Page",
    "RoutesMissing",
    "SameRoute",
    "redirect",
    "shell",
]

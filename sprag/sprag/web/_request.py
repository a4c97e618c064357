"""Werkzeug's request, with bounds for what it makes of a body, and the method as it was sent."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Request

if TYPE_CHECKING:
    from typing import IO

    from werkzeug.datastructures import FileStorage, MultiDict

    Parsed = tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]

_URLENCODED = "application/x-www-form-urlencoded"
_LONGEST_BOUNDARY = 100
"""Characters. Each boundary becomes regular expressions, which Python keeps.

RFC 2046 has 70, and Werkzeug's own test client makes some more now and then.
"""


class _Json:
    """The standard library's, to which a text that is nested too deeply is no JSON."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str | bytes, **options: Any) -> Any:
        try:
            return json.loads(text, **options)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


class _FormParser(FormDataParser):
    """Holds the fields of a form to the same bounds in whichever way they come.

    A megabyte of them takes a second to be made, in which nobody else is served.
    """

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Parsed:
        if mimetype == _URLENCODED:
            data = stream.read()
            if self.max_form_memory_size is not None and len(data) > self.max_form_memory_size:
                raise RequestEntityTooLarge(f"a form may have {self.max_form_memory_size} bytes")
            if self.max_form_parts is not None and data.count(b"&") >= self.max_form_parts:
                raise RequestEntityTooLarge(f"a form may have {self.max_form_parts} fields")
            stream = io.BytesIO(data)
        elif options and len(options.get("boundary", "")) > _LONGEST_BOUNDARY:
            raise BadRequest(f"a boundary may have {_LONGEST_BOUNDARY} characters")
        made: list[IO[bytes]] = []
        factory = self.stream_factory

        def make(*args: Any, **given: Any) -> IO[bytes]:
            made.append(factory(*args, **given))
            return made[-1]

        self.stream_factory = make
        kept: set[int] = set()
        try:
            parsed = super().parse(stream, mimetype, content_length, options)
            kept = {id(file.stream) for _name, file in parsed[2].items(multi=True)}
            return parsed
        finally:
            for each in made:  # what had come before it went wrong
                if id(each) not in kept:
                    each.close()


class WebRequest(Request):
    """What a controller knows as ``self.request``."""

    json_module: Any = _Json
    form_data_parser_class = _FormParser
    max_form_memory_size: int | None = 500_000  # as Werkzeug's own from 3.1 on

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        self.method = environ["REQUEST_METHOD"]  # to HTTP get is not GET, to Werkzeug it is

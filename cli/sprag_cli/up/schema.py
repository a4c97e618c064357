"""The schema of ``sprag.toml`` for editors, made from the keys that the reader knows.

It is kept as docs/sprag.schema.json: ``python -m sprag_cli.up.schema > docs/sprag.schema.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Final

from sprag_cli.up.keys import APP, KINDS
from sprag_cli.up.kinds import Schema, table_schema
from sprag_cli.up.values import NAME

_MEANS: Final = {
    "program": "Programs, each by its name: operating system processes.",
    "service": "Services that are written in Python, each by its name.",
    "group": "Supervisors, each by its name; programs, services and groups lie below it.",
}
_NEEDED: Final = {"program": ["command"], "service": ["use"]}


def schema() -> Schema:
    """Return the schema: JSON Schema, draft 2020-12."""
    definitions: Schema = {kind: table_schema(keys) for kind, keys in KINDS.items()}
    for kind, needed in _NEEDED.items():
        definitions[kind]["required"] = needed
    below = {
        kind: {
            "description": _MEANS[kind],
            "type": "object",
            "propertyNames": NAME.schema,
            "additionalProperties": {"$ref": f"#/$defs/{kind}"},
        }
        for kind in KINDS
    }
    definitions["group"]["properties"] |= below
    app = {"description": "The app itself: the root of the tree.", **table_schema(APP)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sprag.toml",
        "description": "What 'sprag up' runs: programs, Python services, and groups of them.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"app": app, **below},
        "$defs": definitions,
    }


def text() -> str:
    """Return it as it is kept."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())

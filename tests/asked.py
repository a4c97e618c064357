"""What the user asks of a command, with the command's own defaults for what is left out."""

from __future__ import annotations

from typing import Any

from sprag_cli.commands.group import commands


def asked(command: str, **given: Any) -> dict[str, Any]:
    """Return the options of ``sprag COMMAND`` as they arrive if *given* was typed."""
    # Below the group, whose settings a command keeps from its first context on.
    group = commands.make_context("sprag", [command], resilient_parsing=True)
    context = commands.commands[command].make_context(
        command, [], parent=group, resilient_parsing=True
    )
    assert given.keys() <= context.params.keys()
    return {**context.params, **given}

"""``sprag completion``: what makes a shell complete live paths."""

from __future__ import annotations

import click

from sprag_cli.complete.shells import SHELLS, script

_SET_UP = """\b
How to use it:
  bash  eval "$(sprag completion bash)"  in ~/.bashrc
  zsh   eval "$(sprag completion zsh)"   in ~/.zshrc, behind compinit
  fish  sprag completion fish | source   in ~/.config/fish/config.fish"""


@click.command(epilog=_SET_UP)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete live paths.

    It completes commands and options too.
    """
    click.echo(script(context.find_root().command, shell))

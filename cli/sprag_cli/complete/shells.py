"""How bash, zsh and fish ask for completions, and how names are quoted for them.

A service may have any name, ``$(touch x)`` too. click's own scripts put it on the command line
as it is, where the next Enter runs it. zsh and fish quote what they are told to offer; bash
inserts it to the letter, so there the quoting is done here.

All three hand over the command line up to the cursor, as it was typed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from click.shell_completion import ShellComplete, add_completion_class

from sprag_cli.term.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

_BASH: Final = """\
%(complete_func)s() {
    COMPREPLY=()
    local line
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""
_ZSH: Final = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local value about
    local -a values shown
    (( $+commands[%(prog_name)s] )) || return 1
    while IFS=$'\\t' read -r value about; do
        values+=("$value")
        shown+=("$value${about:+  -- $about}")
    done < <(COMP_LINE="${words[1,CURRENT-1]} $QIPREFIX$PREFIX" \\
        %(complete_var)s=zsh_complete %(prog_name)s)
    compadd -U -V %(prog_name)s -l -d shown -a values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH: Final = """\
function %(complete_func)s
    COMP_LINE=(commandline -cp | string collect) %(complete_var)s=fish_complete %(prog_name)s
end
complete --no-files --keep-order --command %(prog_name)s --arguments '(%(complete_func)s)'
"""
_TAKEN_AS_THEY_ARE: Final = "_@%+=:,./-"
"""Besides letters and digits: they mean nothing to a shell within a word."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command line up to the cursor.

    Attributes:
        words: Those before the last, without their quotes.
        last: The word under the cursor, without its quotes; it may be empty.
        raw: The same as it was typed.
        quote: The quote that is still open in it, or ``""``.
    """

    words: tuple[str, ...]
    last: str
    raw: str
    quote: str


def typed(line: str) -> Typed:
    """Split a command line that is not finished, as shells do."""
    words: list[str] = []
    word = quote = ""
    begin = place = 0
    while place < len(line):
        letter = line[place]
        place += 1
        if letter == quote:
            quote = ""
        elif letter == "\\" and quote != "'" and place < len(line):
            follows = line[place]
            place += 1
            word += follows if not quote or follows in '"\\$`' else letter + follows
        elif quote:
            word += letter
        elif letter in "'\"":
            quote = letter
        elif letter.isspace():
            if begin < place - 1:
                words.append(word)
            word, begin = "", place
        else:
            word += letter
    return Typed(tuple(words), word, line[begin:], quote)


class _Shell(ShellComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words behind ``sprag``, and the one that is to be completed."""
        line = typed(os.environ.get("COMP_LINE", ""))
        return list(line.words[1:]), line.last

    def complete(self) -> str:
        """Return what the shell's script reads: one offer a line."""
        line = typed(os.environ.get("COMP_LINE", ""))
        offers: list[str] = []
        option, equals, _ = line.last.partition("=")
        before = option + equals if equals and option.startswith("-") else ""
        for item in self.get_completions(list(line.words[1:]), line.last):
            value = str(item.value)
            # What cannot be typed is not offered, nor a name that would be taken for an option.
            if value.isprintable() and (before or value[:1] != "-" or line.last[:1] == "-"):
                offers += self.offer(before + value, printable(item.help or ""), line)
        return "\n".join(offers)

    def offer(self, value: str, about: str, line: Typed) -> Iterator[str]:
        """Yield the line that offers *value* in place of the last word, if it can be offered."""
        del line
        yield f"{value}\t{about}" if about else value


class Bash(_Shell):
    """bash; one older than 4.4 sorts what it is told."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def offer(self, value: str, about: str, line: Typed) -> Iterator[str]:
        """Quote *value* as the word was begun.

        bash takes a word to begin behind a colon or an equals sign, too, and replaces what
        follows: what comes before is left out.
        """
        del about
        if line.quote:
            quoted = f"{line.quote}{_within(value, line.quote)}"
            if quoted.endswith(line.quote):
                quoted += line.quote  # bash adds it only where it sees none
        else:
            quoted = "".join(map(_escaped, value))
        word = os.environ.get("COMP_WORD", "")
        before = line.raw.removesuffix(word) if line.raw.endswith(word) else ""
        if quoted.startswith(before):
            yield quoted.removeprefix(before)


class Zsh(_Shell):
    """zsh quotes what `compadd` is told."""

    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = _ZSH


class Fish(_Shell):
    """fish 3 and later quotes the lines of a command."""

    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH


def _escaped(letter: str) -> str:
    taken = letter.isalnum() or letter in _TAKEN_AS_THEY_ARE or not letter.isascii()
    return letter if taken else f"\\{letter}"


def _within(value: str, quote: str) -> str:
    if quote == "'":
        return value.replace("'", "'\\''")
    for letter in '\\"$`':
        value = value.replace(letter, f"\\{letter}")
    return value.replace("!", "\"'!'\"")  # history is looked up within double quotes, too


SHELLS: Final = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def replace_clicks() -> None:
    """Have click answer the shells as it is done here."""
    for shell in SHELLS.values():
        add_completion_class(shell)


def script(commands: click.Command, shell: str) -> str:
    """Return what makes *shell* ask `sprag` when the tab key is pressed."""
    return SHELLS[shell](commands, {}, "sprag", "_SPRAG_COMPLETE").source()

"""The guides "Without Python" and "From supervisord" say what is so: their files are read here."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import jsonschema
import pytest

from drawn import plain
from sprag_cli.term.style import UNICODE
from sprag_cli.up.convert import toml_of
from sprag_cli.up.keys import APP, GROUP, KINDS
from sprag_cli.up.procfile import read_procfile
from sprag_cli.up.schema import schema
from sprag_cli.up.show import drawn
from sprag_cli.up.sprag_toml import declared_in
from test_docs_facts import code, section, table
from test_documentation import ROOT, Block, split_page

if TYPE_CHECKING:
    from pathlib import Path

GUIDES = ROOT / "docs" / "guides"
WITHOUT_PYTHON = split_page(GUIDES / "sprag-toml.md")[0]
FROM_SUPERVISORD = split_page(GUIDES / "from-supervisord.md")[0]
FILES = [each for each in WITHOUT_PYTHON + FROM_SUPERVISORD if each.language == "toml"]


def titled(blocks: list[Block], title: str) -> str:
    (found,) = [each.text for each in blocks if each.title == title]
    return found


@pytest.mark.parametrize("block", FILES, ids=lambda each: f"{each.page.name}:{each.line}")
def test_every_file_of_the_guides_is_read_and_fits_the_schema(block: Block, tmp_path: Path) -> None:
    declared_in(block.text, tmp_path / "sprag.toml")
    jsonschema.validate(tomllib.loads(block.text), schema(), cls=jsonschema.Draft202012Validator)


def test_the_procfile_of_the_guide_is_read(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(titled(WITHOUT_PYTHON, "Procfile"))

    members = read_procfile(tmp_path / "Procfile", {}).root.members
    assert [each.name for each in members] == ["web", "worker"]


def test_the_tree_of_the_guide_is_that_of_its_file(tmp_path: Path) -> None:
    declared = declared_in(titled(WITHOUT_PYTHON, "sprag.toml"), tmp_path / "sprag.toml")

    lines = [plain(line) for line in drawn(declared, width=120, charset=UNICODE)]
    shown = "\n".join(each.text for each in WITHOUT_PYTHON if each.language == "console")
    assert "\n".join(["$ sprag up --dry-run", *lines, ""]) in shown


def test_the_guide_has_every_key_of_a_program() -> None:
    rows = table(section("guides/sprag-toml.md", "The keys of a program"))
    told = [code(name) for cell, *_ in rows for name in cell.split(", ")]

    assert sorted(told) == sorted(KINDS["program"])


def test_the_guide_names_the_keys_of_groups_and_of_the_app() -> None:
    said = section("guides/sprag-toml.md", "Groups")
    policy = set(KINDS["service"])

    assert not [key for key in {*GROUP, *APP} - policy if f"`{key}`" not in said]


def test_the_site_of_the_guide_is_converted_to_what_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "supervisord.conf"
    file.write_text(titled(FROM_SUPERVISORD, "supervisord.conf"))

    text, notes = toml_of(file, {"SECRET_KEY": "s3cret"})
    # Lists are broken where a line is long, so the folder's name must not count.
    shown_site = tomllib.loads(titled(FROM_SUPERVISORD, "sprag.toml"))
    assert tomllib.loads(text.replace(str(tmp_path), "/etc/shop")) == shown_site
    (shown,) = [each.text for each in FROM_SUPERVISORD if each.language == "text"]
    assert shown.splitlines()[1:] == notes

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprag_cli.term import deep_json

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_the_loops_and_the_standard_module_agree(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert "".join(deep_json._pieces(value, indent)) == text
    assert deep_json._loads_deep(text) == value


@pytest.mark.parametrize("indent", [None, 1])
def test_depth_is_no_limit(indent: int | None) -> None:
    levels = 3000
    text = '{"children": [' * levels + "{}" + "]}" * levels
    value: Any = deep_json.loads(text)
    assert deep_json.dumps(value) == text
    again: Any = deep_json.loads(deep_json.dumps(value, indent=indent))
    for _ in range(levels):
        (again,) = again["children"]
    assert again == {}


@pytest.mark.parametrize("broken", ["[" * 9000, "[" * 9000 + "]" * 8999, "[" * 9000 + "]" * 9001])
def test_a_deep_text_that_breaks_off_is_a_value_error(broken: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        deep_json.loads(broken)

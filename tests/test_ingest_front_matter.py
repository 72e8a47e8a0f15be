"""Front matter: its fields are read, its text is not indexed, and hostile YAML is only text."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fields import LONGEST_VALUE, MOST_VALUES
from ingest.front_matter import split_front_matter
from ingest.parse import parse_bytes


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("title: Ferries", {"title": ("Ferries",)}),
        ("tags: [a, b, a]\nDraft: yes", {"tags": ("a", "b"), "draft": ("yes",)}),
        ("tags:\n  - sea\n  - {deep: 1}\n  - [deeper]\n  -", {"tags": ("sea",)}),
        (
            "date: 2024-05-01\nversion: 1.10\nid: 007",
            {"meta.date": ("2024-05-01",), "version": ("1.10",), "id": ("007",)},
        ),
        ("nested:\n  a: 1\nempty:\nname: x", {"name": ("x",)}),
        ("[a, b]: c\n? {a: b}\n: c\nname: x", {"name": ("x",)}),
        ("a: !!python/object/apply:os.system [id]", {"a": ("id",)}),
        ("a: &a [x, *a]\nb: *a", {"a": ("x",), "b": ("x",)}),
        ("a: one\na: two", {"a": ("two",)}),
        ("text: |\n  one\n  two", {"text": ("one two",)}),
        (f"long: {'x' * (LONGEST_VALUE + 1)}\na<b: c", {}),
        ("\n".join(f"k{n}: v" for n in range(MOST_VALUES + 50)), {f"k{n}": ("v",) for n in range(MOST_VALUES)}),
    ],
)
def test_what_a_block_says(block: str, fields: Mapping[str, tuple[str, ...]]) -> None:
    for end in ("---", "...", "--- "):
        assert split_front_matter(f"---\n{block}\n{end}\n# Body\n") == (fields, "# Body\n")
    assert split_front_matter(f"---  \n{block}\n---") == (fields, "")


LAUGHS = "a0: &a0 [x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    "text",
    [
        "# No block\n",
        "---\nProse between two rules.\n---\nMore.",
        "---\n\ntitle: after a blank line\n---\n",
        "---\ntitle: never closed\n",
        "---\n---\nempty",
        "----\ntitle: x\n---\n",
        " ---\ntitle: x\n---\n",
        "text\n---\ntitle: x\n---\n",
        "---\ntitle: two: colons\n---\n",
        "---\n- a\n- list\n---\n",
        "---\na: [unclosed\n---\n",
        '---\na: "\\U00ffffff"\n---\n',
        "---\na: \x07\n---\n",
        "---\na: *nowhere\n---\n",
        "---\n\ta: b\n---\n",
        f"---\na: {'[' * 2_000}\n---\n",
        f"---\n{'- ' * 10_000}\n---\n",
        f"---\na: {'x' * 40_000}\n---\n",
        "---\n" + "--\n" * 100_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_text(text: str) -> None:
    assert split_front_matter(text) == ({}, text)


def test_aliases_of_aliases_are_not_expanded() -> None:
    fields, rest = split_front_matter(f"---\n{LAUGHS}---\nrest")
    assert (fields, rest) == ({"a0": ("x",)}, "rest")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"# \n\t.%?,\\", max_size=60))
def test_any_block_is_read_or_left(block: str) -> None:
    text = f"---\n{block}\n---\nrest"
    fields, rest = split_front_matter(text)
    assert text.endswith(rest)
    assert all(values and all(values) for values in fields.values())
    assert rest == text or "---\n" in text[: len(text) - len(rest)]


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        ("Body text here.", [("title", "Ferry guide"), ("text", "Body text here.")]),
        ("# Ferry guide\n\nBody.", [("title", "Ferry guide"), ("text", "Body.")]),
        ("# Other\n\nBody.", [("title", "Ferry guide"), ("title", "Other"), ("text", "Body.")]),
        ("", [("title", "Ferry guide")]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_markdown_file(body: str, elements: list[tuple[str, str]], encoding: str) -> None:
    text = f"---\r\ntitle: Ferry guide\r\nauthor: Zoë\r\n---\r\n{body}"
    document = parse_bytes(text.encode(encoding), "a.md")
    assert [(element.kind, element.text) for element in document.elements] == elements
    assert document.fields == {"title": ("Ferry guide",), "author": ("Zoë",)}
    assert all(document.text[e.start : e.end] == e.text for e in document.elements)


def test_other_formats_have_none() -> None:
    document = parse_bytes(b"---\ntitle: x\n---\nText.", "a.txt")
    assert document.fields == {}
    assert "title: x" in document.text

"""Filters: what is read, which sources pass, and that the engine itself looks at no other document."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_support import light_parse_files, state, write_files

from ingest import pipeline
from ingest.edge import Bm25
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import FieldError, SourceNotFoundError
from ingest.fields import LONGEST_VALUE, field_name, field_value, parse_meta
from ingest.filters import Filters, days, parse_filters

EMBEDDER = HashEmbedder(16)
DOCS = {
    "guides/orrin.md": "# The MV Orrin\nShe carries 214 passengers.",
    "guides/old/pip.html": "The MV Pip carries 60 passengers.",
    "guides.md": "All guides for passengers.",
    "[draft] pets.txt": "Dogs are passengers, too.",
    "copy.md": "# The MV Orrin\nShe carries 214 passengers.",
}
DATES = {"guides/orrin.md": "2023-12-31", "guides.md": "2024-02-29", "[draft] pets.txt": "2024-05-01"}


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    folder = write_files(tmp_path / "docs", dict(DOCS))
    for name in DOCS:
        moment = datetime.fromisoformat(f"{DATES.get(name, '2025-01-01')}T23:59:59+00:00")
        os.utime(folder / name, (moment.timestamp(), moment.timestamp()))
    return folder


@pytest.fixture
def index(tmp_path: Path, docs: Path) -> Any:
    with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        pipeline.ingest([docs / "guides"], index, EMBEDDER, fields=parse_meta(["kind=wrong"]))
        index.remove([document.source for document in index.documents()])
        pipeline.ingest([docs], index, EMBEDDER)
        index.catalogue.give(["guides.md"], parse_meta(["Team=Sea", "team=Shore"]))
        index.catalogue.give(["copy.md", "[draft] pets.txt"], parse_meta(["team=Shore", "type=Draft"]))
        yield index


def passing(index: EdgeIndex, *texts: str) -> set[str]:
    return {document.source for document in index.documents(parse_filters(texts))}


def found(index: EdgeIndex, *texts: str, query: str = "passengers") -> set[str]:
    result = index.search(EMBEDDER.encode([query])[0], Bm25().query(query), limit=50, filters=parse_filters(texts))
    return {hit.chunk.source for hit in result.hits}


@pytest.mark.parametrize(
    ("texts", "sources"),
    [
        (["source=orrin.md"], {"guides/orrin.md"}),
        (["source=guides.md", "source=pip.html"], {"guides.md", "guides/old/pip.html"}),
        (["path=guides/"], {"guides/orrin.md", "guides/old/pip.html"}),
        (["path=./guides"], {"guides/orrin.md", "guides/old/pip.html"}),
        (["path=guides/old"], {"guides/old/pip.html"}),
        (["path=guide"], set()),
        (["path=old"], set()),
        (["path=*/old/*"], {"guides/old/pip.html"}),
        (["path=guides.md"], {"guides.md"}),
        (["path=*.md"], {"guides/orrin.md", "guides.md", "copy.md"}),
        (["path=[[]draft] *"], {"[draft] pets.txt"}),
        (["path=/"], set(DOCS)),
        (["type=HTML"], {"guides/old/pip.html"}),
        (["type=html", "type=text"], {"guides/old/pip.html", "[draft] pets.txt"}),
        (["type=markdown", "path=guides"], {"guides/orrin.md"}),
        (["type=pdf"], set()),
        (["date=2024"], {"guides.md", "[draft] pets.txt"}),
        (["date=2024-02"], {"guides.md"}),
        (["date=2024-2-29"], {"guides.md"}),
        (["date=2024-02-28"], set()),
        (["date=2023", "date=2024-05"], {"guides/orrin.md", "[draft] pets.txt"}),
        (["date>=2024", "date<2025"], {"guides.md", "[draft] pets.txt"}),
        (["date>2023", "date<=2024-04"], {"guides.md"}),
        (["date<=2023-12-31"], {"guides/orrin.md"}),
        (["date<9999"], set(DOCS)),
        (["date<0001"], set()),
        (["team=Sea"], {"guides.md"}),
        (["TEAM= Shore "], {"guides.md", "copy.md", "[draft] pets.txt"}),
        (["team=Sea", "team=Shore", "type=text"], {"[draft] pets.txt"}),
        (["team=shore"], set()),
        (["meta.type=Draft", "type=markdown"], {"copy.md"}),
    ],
)
def test_what_passes(index: EdgeIndex, texts: list[str], sources: set[str]) -> None:
    assert passing(index, *texts) == sources
    shown = found(index, *texts)
    documents = {document.source: document.document_id for document in index.documents()}
    assert shown <= sources, "a document is shown under a source that passes"
    assert {documents[source] for source in shown} == {documents[source] for source in sources}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source", "KEY=VALUE"),
        ("", "KEY=VALUE"),
        ("=x", "KEY=VALUE"),
        ("type=", "KEY=VALUE"),
        ("team= ", "KEY=VALUE"),
        ("date", "quote a comparison"),
        ("type=word", "choose one of code, csv, .*docx, .*html, .*xml"),
        ("source>x", "only a date can be compared"),
        ("team<=x", "only a date can be compared"),
        ("date=2024-13", "is no date"),
        ("date=2023-02-29", "is no date"),
        ("date=0000", "is no date"),
        ("date>=yesterday", "is no date"),
        ("date==2024", "is no date"),
        (f"team={'x' * (LONGEST_VALUE + 1)}", "shorten it"),
        (f"path={'*' * 2000}", "shorten it"),
        (f"{'k' * 200}=x", "KEY=VALUE"),
    ],
)
def test_what_is_no_filter(text: str, said: str) -> None:
    with pytest.raises(FieldError, match=said) as error:
        parse_filters([text])
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_text_is_a_filter_or_one_clear_error(texts: list[str]) -> None:
    said = "--filter"
    filters = None
    try:
        filters = parse_filters(texts)
    except FieldError as error:
        said = str(error)
    assert said.startswith("--filter")
    assert filters is None or isinstance(filters, Filters)


@given(st.dates())
def test_a_day_lies_in_its_month_and_its_year(day: Any) -> None:
    first, after = days(f"{day:%Y-%m-%d}".zfill(10))
    assert after - first == 1
    assert (datetime(1970, 1, 1, tzinfo=UTC).date().toordinal() + first) == day.toordinal()
    month, year = days(f"{day.year:04}-{day.month}"), days(f"{day.year:04}")
    assert year[0] <= month[0] <= first < after <= month[1] <= year[1]


def test_unknown_names_are_told_with_the_known_ones(index: EdgeIndex) -> None:
    with pytest.raises(FieldError, match=r"'tem': there are source, path, type, date, meta\.type, team$"):
        passing(index, "tem=Sea")
    with pytest.raises(FieldError, match="kind"):
        passing(index, "kind=wrong")
    with pytest.raises(SourceNotFoundError, match="docs list"):
        found(index, "source=nowhere.md")
    with pytest.raises(SourceNotFoundError):
        found(index, "source=\udcff.md")


def test_a_search_sees_what_changed_since_the_last_one(index: EdgeIndex) -> None:
    assert found(index, "team=Sea") == {"guides.md"}
    index.catalogue.give(["guides/orrin.md"], parse_meta(["team=Sea"]))
    assert found(index, "team=Sea") == {"guides.md", "guides/orrin.md"}
    index.remove(["guides.md"])
    assert found(index, "team=Sea") == {"guides/orrin.md"}


def test_the_rest_of_a_large_index_does_not_crowd_a_document_out(docs: Path, index: EdgeIndex) -> None:
    """Two hundred better documents: a filter after the search would find nothing."""
    write_files(docs, {f"more/{n}.md": f"{'zebra ' * (n + 1)}" for n in range(200)})
    write_files(docs, {"few.txt": "One zebra among many other words of this rather long line of text."})
    pipeline.ingest([docs], index, EMBEDDER)
    assert found(index, "path=few.txt", query="zebra") == {"few.txt"}
    assert found(index, "type=text", query="zebra") == {"few.txt", "[draft] pets.txt"}


def test_fields_are_given_kept_changed_and_removed_without_embedding(docs: Path, tmp_path: Path) -> None:
    class Once(HashEmbedder):
        texts = 0

        def encode(self, texts: Any) -> Any:
            self.texts += len(texts)
            return super().encode(texts)

    embedder = Once(16)

    def fields(index: EdgeIndex) -> dict[str, Any]:
        return {document.source: dict(document.fields) for document in index.documents()}

    with EdgeIndex(tmp_path / "ix", embedder, create=True) as index:
        pipeline.ingest([docs], index, embedder, fields=parse_meta(["team=Sea", "lang=en"]))
        once, before = embedder.texts, state(index)
        assert fields(index) == {name: {"lang": ("en",), "team": ("Sea",)} for name in DOCS}
        pipeline.ingest([docs], index, embedder)
        assert fields(index)["copy.md"] == {"lang": ("en",), "team": ("Sea",)}
        report = pipeline.ingest([docs], index, embedder, fields=parse_meta(["team=Shore", "team=Air", "lang="]))
        assert report.unchanged == len(DOCS)
        assert fields(index) == {name: {"team": ("Air", "Shore")} for name in DOCS}
        assert (embedder.texts, state(index)) == (once, before)
        (docs / "copy.md").unlink()
        pipeline.ingest([docs], index, embedder, prune=True)
        write_files(docs, {"copy.md": DOCS["copy.md"]})
        pipeline.ingest([docs], index, embedder)
        assert "copy.md" not in passing(index, "team=Air"), "fields are a source's, and leave with it"


def test_a_file_that_failed_gets_no_fields(docs: Path, index: EdgeIndex) -> None:
    write_files(docs, {"bad.md": "FAIL", "good.md": "Good passengers."})
    pipeline.ingest([docs], index, EMBEDDER, fields=parse_meta(["run=2"]))
    assert passing(index, "run=2") == {*DOCS, "good.md"}


@pytest.mark.parametrize(
    ("texts", "fields"),
    [
        ([], {}),
        (["a=1", "A=2", "a=1"], {"a": ("1", "2")}),
        (["a="], {"a": ()}),
        (["Due Date = 1 \n 2"], {"due date": ("1 2",)}),
        (["source=x"], {"meta.source": ("x",)}),
        (["a=b=c"], {"a": ("b=c",)}),
        (["e=e\u0301"], {"e": ("\xe9",)}),
    ],
)
def test_meta(texts: list[str], fields: dict[str, tuple[str, ...]]) -> None:
    assert parse_meta(texts) == fields


@pytest.mark.parametrize("text", ["", "a", "=x", "a<b=c", f"a={'x' * 1001}", f"{'a' * 101}=x"])
def test_meta_that_cannot_be_read(text: str) -> None:
    with pytest.raises(FieldError, match="--meta"):
        parse_meta([text])


@given(st.text())
def test_names_and_values_are_kept_as_they_are_asked_for(text: str) -> None:
    name, value = field_name(text), field_value(text)
    if name is not None and not name.startswith("meta."):
        assert field_name(name) == name
    if value is not None:
        assert field_value(value) == value
        assert parse_filters([f"f={text}"]) == parse_filters([f"f={value}"])

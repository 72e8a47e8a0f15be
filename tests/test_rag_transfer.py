"""``rag docs export`` and ``import``, and a server's URL as ``--index``, at the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ingest_support import light_parse_files, write_files
from qdrant_support import EMBEDDER, StandIn, stand_in
from typer.testing import CliRunner

from ingest import pipeline
from rag.cli.main import app
from rag.errors import USER_ERRORS
from rag.settings import Settings


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    monkeypatch.setattr("ingest.embed.open_embedder", lambda *_: EMBEDDER)
    monkeypatch.setenv("RAG_QDRANT_API_KEY", "s3cret")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wire() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


def rag(*arguments: str) -> Any:
    """The one JSON object that a command prints."""
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_an_index_is_moved_to_a_server_and_back(wire: StandIn, tmp_path: Path) -> None:
    docs = str(write_files(tmp_path / "docs", {"a.md": "Dogs travel free.", "b.md": "Cats stay at home."}))
    assert rag("ingest", docs, "--index", "first")["documents"]["added"] == 2
    exported = rag("docs", "export", "index.gz", "--index", "first")
    assert exported == {"file": "index.gz", "documents": 2, "sources": 2, "chunks": 2, "bytes": exported["bytes"]}
    taken = rag("docs", "import", "index.gz", "--index", wire.url, "--collection", "pets")
    assert taken == {"file": "index.gz", "documents": 2, "held": 0, "sources": 2, "chunks": 2}
    assert rag("docs", "collections", "--index", wire.url)["collections"] == [
        {"name": "pets", "folder": "rag_documents_pets", "documents": 2, "chunks": 2, "embedder": "hash-16"}
    ]
    server = ("--index", wire.url, "--collection", "pets")
    assert rag("ingest", docs, *server)["documents"]["unchanged"] == 2
    there, here = (rag("search", "dogs free", *at)["hits"] for at in (server, ("--index", "first")))
    assert [hit.pop("score") for hit in there] == pytest.approx([hit.pop("score") for hit in here], abs=1e-4)
    assert there == here
    assert rag("docs", "verify", *server) == {"documents": 2, "damaged": {}}
    rag("docs", "remove", "a.md", *server)
    rag("docs", "export", "back.gz", *server)
    assert rag("docs", "import", "back.gz", "--index", "second")["documents"] == 1
    assert {headers["api-key"] for _, _, headers in wire.seen} == {"s3cret"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("docs", "import", "missing.gz"), "missing.gz cannot be read"),
        (("docs", "export", "x.gz"), "no index in"),
        (("docs", "list", "--index", "http://127.0.0.1:1"), "start the Qdrant server"),
        (("docs", "export", "x.gz", "--index", "https://me:pw@host"), "set RAG_QDRANT_API_KEY"),
        (("docs", "rebuild", "--index", "http://127.0.0.1:1"), "is a server"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(USER_ERRORS, match=told) as error:
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert "pw" not in str(error.value)
    assert list(tmp_path.iterdir()) == [], "nothing is made for a command that fails"


def test_the_key_is_no_setting() -> None:
    shown = CliRunner().invoke(app, ["config"], catch_exceptions=False).stdout
    assert "s3cret" not in shown


def test_where_an_index_is_for_people() -> None:
    assert Settings(index="http://host:6333").location == "http://host:6333"
    assert Settings(index="http://host:6333", collection="pets").location == "http://host:6333 (collection pets)"
    assert Settings(index="ix", collection="pets").location == str(Path("ix", "collections", "pets"))

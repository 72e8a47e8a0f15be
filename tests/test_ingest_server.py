"""An index on a server: what is sent where, what is told when it goes wrong, who may write, and every way to die."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ingest_support import child_environment, light_parse_files, state, write_files
from qdrant_client import QdrantClient, models
from qdrant_support import EMBEDDER, Place, StandIn, documents_of, stand_in

from ingest import pipeline, server_lease
from ingest.edge import Bm25
from ingest.embed import HashEmbedder
from ingest.errors import IndexDamagedError, IndexInUseError, IndexMismatchError, IndexProblem, IndexServerError
from ingest.filters import parse_filters
from ingest.index import collections_at, open_index
from ingest.server_client import TRIES, Server, checked_url
from ingest.server_index import ServerIndex, list_collections
from ingest.server_layout import Names, packed, unpacked
from ingest.server_lease import Lease

DOCS = {
    "a.md": "# A\nThe boat carries 60 passengers.",
    "b.md": "# B\nDogs travel free.",
    "c/b.md": "# B\nDogs travel free.",
}
LATER = {"a.md": "# A\nThe boat carries 80 passengers now.", "b.md": None, "d.md": "Cats stay at home."}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    monkeypatch.delenv("RAG_QDRANT_API_KEY", raising=False)


@pytest.fixture
def wire() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_files(tmp_path / "docs", dict(DOCS))


def change(docs: Path) -> None:
    for name, text in LATER.items():
        if text is None:
            (docs / name).unlink()
        else:
            write_files(docs, {name: text})


def no_wait(seconds: float) -> None:
    assert seconds >= 0


def memory(client: QdrantClient, **options: Any) -> ServerIndex:
    """An index on a client that other indexes share, which is therefore not closed."""
    server = Server(client, "memory", parallel=1, sleep=no_wait)
    server.close = lambda: None  # type: ignore[method-assign]
    return ServerIndex(server, EMBEDDER, **options)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host", "http://", "http://host:port", "http://a b", "://host", f"http://{'a' * 64}.example"),
        *("http://me:secret@host", "https://host?key=secret", "http://host#secret"),
    ],
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(IndexProblem, match="--index") as error:
        open_index(url, EMBEDDER)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_urls_are_kept_as_they_are() -> None:
    for url in ("http://host:6333", "https://host/prefix", "http://[::1]:6333"):
        assert checked_url(f"{url}/") == url


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for ask in (lambda: open_index(url, EMBEDDER, create=True), lambda: collections_at(url)):
            with pytest.raises(IndexServerError, match=f"{url} cannot be reached .*: start the Qdrant server"):
                ask()


def test_tls_that_is_none(wire: StandIn) -> None:
    with pytest.raises(IndexServerError, match=r"TLS.*http or https"):
        open_index(wire.url.replace("http:", "https:"), EMBEDDER)


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[int, str], Any]:
    return lambda number, path: (status, headers, body)


def said(reason: str) -> bytes:
    return json.dumps({"status": {"error": reason}}).encode()


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (answer(401, b"Must provide an API key"), "401: Must provide an API key.*RAG_QDRANT_API_KEY"),
        (answer(403, said("Forbidden\x1b[31m")), "403: Forbidden .31m.*RAG_QDRANT_API_KEY"),
        (answer(404, b"<html><h1>Not here</h1>"), "404: Not here.*Qdrant server's URL"),
        (answer(301, location="http://elsewhere.example/"), "redirects.*not followed"),
        (answer(200, b"<html>hello"), "did not answer as Qdrant does"),
        (answer(200, b'{"result": {"exists": "maybe not"}}'), "did not answer as Qdrant does"),
        (answer(500, said("disk is full")), "500: disk is full.*its disk"),
        (answer(429, said("slow"), **{"Retry-After": "7200"}), "asks to wait 7200 s"),
        (answer(400, b"\xff" * 100_000), "400"),
    ],
)
def test_what_a_server_says_is_one_line_with_a_remedy(wire: StandIn, before: Any, told: str) -> None:
    wire.before = before
    with pytest.raises(IndexServerError, match=told) as error:
        open_index(wire.url, EMBEDDER, create=True)
    assert str(error.value).startswith(wire.url)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
    assert len(wire.seen) == 1, "a server that has never answered is tried once"


def test_the_key_is_sent_and_never_shown(wire: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_QDRANT_API_KEY", " s3cret-key\n")
    wire.before = answer(403, said("s3cret-key may not"))
    with pytest.raises(IndexServerError, match=r"\*\*\* may not") as error:
        open_index(wire.url, EMBEDDER)
    assert "s3cret" not in str(error.value)
    assert [headers["api-key"] for _, _, headers in wire.seen] == ["s3cret-key"]
    monkeypatch.setenv("RAG_QDRANT_API_KEY", "sécret")
    with pytest.raises(IndexProblem, match="set it anew") as wrong:
        open_index(wire.url, EMBEDDER)
    assert "cret" not in str(wrong.value)


def test_only_the_server_is_asked(wire: StandIn, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    connect = socket.socket.connect
    asked = set()

    def watched(self: socket.socket, address: Any) -> Any:
        asked.add(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    with open_index(wire.url, EMBEDDER, create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
    assert asked == {("127.0.0.1", int(wire.url.rpartition(":")[2]))}
    assert {path.split("/")[1] for _, path, _ in wire.seen} == {"collections"}, "not even the version is asked for"


@pytest.mark.parametrize("failure", [answer(503), answer(502, b"<html>"), answer(429, **{"Retry-After": "1"})])
def test_what_may_pass_is_tried_again(wire: StandIn, docs: Path, failure: Any) -> None:
    # Four in a row at most, for each of the four uploads at a time may meet them all.
    wire.before = lambda number, path: failure(number, path) if number % 25 in range(10, 14) else None
    with ServerIndex(Server.at(wire.url, sleep=no_wait), EMBEDDER, create=True) as index:
        assert pipeline.ingest([docs], index, EMBEDDER).added == len(DOCS)
    wire.before = lambda number, path: None
    with open_index(wire.url, EMBEDDER) as index:
        state(index)  # type: ignore[arg-type]


def test_what_does_not_pass_ends_the_run_and_the_old_state_is_served(wire: StandIn, docs: Path) -> None:
    waits: list[float] = []
    with ServerIndex(Server.at(wire.url, sleep=waits.append), EMBEDDER, create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
        before = state(index)  # type: ignore[arg-type]
        change(docs)
        wire.before = lambda number, path: (503, {}, b"") if path.endswith("passages_default/points") else None
        with pytest.raises(IndexServerError, match=f"failed .503.*{TRIES} times in a row.*server's log"):
            pipeline.ingest([docs], index, EMBEDDER)
        wire.before = lambda number, path: None
    assert len(waits) >= TRIES - 1  # several requests are under way at once, and the first to give up ends the others
    assert 0 < min(waits) < max(waits) < 10
    with open_index(wire.url, EMBEDDER, create=True) as index:
        assert index.swept == 2
        assert state(index) == before  # type: ignore[arg-type]


class Died(BaseException):
    """This process is gone."""


def run(client: QdrantClient, docs: Path, dies_after: int | None = None) -> int:
    """Ingest, and die after so many requests; returns their number."""
    asked = 0
    real = Server.ask

    def ask(self: Server, call: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += 1
        if dies_after is not None and asked > dies_after:
            raise Died
        return real(self, call, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Server, "ask", ask)
        if dies_after is not None:
            # A process that is not there any more.
            patched.setattr(server_lease.os, "getpid", lambda: 2**22 + 7)
        with memory(client, create=True) as index:
            pipeline.ingest([docs], index, EMBEDDER, prune=True)
    return asked


def clean(docs: Path, folder: Path) -> dict[str, Any]:
    with Place("edge", folder, "").open(create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
        return state(index)


@pytest.mark.parametrize("before", [{}, DOCS])
def test_killed_between_any_two_requests_the_next_run_completes(before: dict[str, str], tmp_path: Path) -> None:
    """On an empty server, and on one that holds an older state."""

    def fresh() -> tuple[QdrantClient, Path]:
        client, docs = QdrantClient(":memory:"), tmp_path / "docs"
        shutil.rmtree(docs, ignore_errors=True)
        write_files(docs, dict(DOCS))
        if before:
            run(client, docs)
            change(docs)
        return client, docs

    requests = run(*fresh())
    wanted = clean(tmp_path / "docs", tmp_path / "clean")
    assert requests > 20
    for asked in range(requests):
        client, docs = fresh()
        with pytest.raises(Died):
            run(client, docs, asked)
        run(client, docs)
        with memory(client) as index:
            assert state(index) == wanted, asked  # type: ignore[arg-type]
            assert index.damage() == {}


def test_a_killed_process(wire: StandIn, docs: Path, tmp_path: Path) -> None:
    """By SIGKILL, while a request of it is carried out, at two places of its run."""
    code = """if True:
        import sys
        from pathlib import Path
        from ingest import pipeline
        from ingest.embed import HashEmbedder
        from ingest.index import open_index
        from ingest_support import light_parse_files
        pipeline.parse_files = light_parse_files
        print("ready", flush=True)
        embedder = HashEmbedder(16)
        with open_index(sys.argv[2], embedder, create=True) as index:
            pipeline.ingest([Path(sys.argv[1])], index, embedder)
        """
    for at in (14, 20):
        first = len(wire.seen)
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(docs), wire.url], env=child_environment(), stdout=subprocess.PIPE
        )

        def kill(number: int, path: str, first: int = first, at: int = at, pid: int = child.pid) -> None:
            if number == first + at:
                os.kill(pid, signal.SIGKILL)

        wire.after = kill
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        assert len(wire.seen) >= first + at
        write_files(docs, {f"{at}.md": f"Number {at}."})
    wire.after = lambda number, path: None
    with open_index(wire.url, EMBEDDER, create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
        assert state(index) == clean(docs, tmp_path / "clean")  # type: ignore[arg-type]


@pytest.mark.parametrize("filters", [(), ("path=*",)])
def test_a_search_never_sees_half_a_document_or_two_versions(docs: Path, filters: tuple[str, ...]) -> None:
    """Another process searches after every request of a run that replaces a document of many chunks."""
    old, new = ("\n".join(f"{word} {number} passengers." for number in range(40)) for word in ("old", "new"))
    write_files(docs, {"a.md": old})
    client = QdrantClient(":memory:")
    run(client, docs)
    write_files(docs, {"a.md": new})
    seen: list[tuple[str, int]] = []
    real = Server.ask
    looking = False

    def ask(self: Server, call: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal looking
        found = real(self, call, *args, **kwargs)
        if not looking:
            looking = True
            hits = reader.search(None, Bm25().query("passengers"), limit=100, filters=parse_filters(filters)).hits
            texts = [hit.chunk.text for hit in hits if hit.chunk.source == "a.md"]
            (version,) = {text.split()[0] for text in texts}
            seen.append((version, len(texts)))
            looking = False
        return found

    with memory(client) as reader, pytest.MonkeyPatch.context() as patched:
        (whole,) = {document.chunks for document in reader.documents() if document.source == "a.md"}
        with memory(client, create=True) as index:
            patched.setattr(Server, "ask", ask)
            pipeline.ingest([docs], index, EMBEDDER)
            looking = True
    assert set(seen) == {("old", whole), ("new", whole)}
    assert [version for version, _ in seen] == sorted((version for version, _ in seen), reverse=True)


def test_one_writer_and_many_readers(wire: StandIn, docs: Path) -> None:
    with open_index(wire.url, EMBEDDER, create=True) as writer, open_index(wire.url, EMBEDDER) as reader:
        pipeline.ingest([docs], writer, EMBEDDER)
        assert documents_of(reader) == sorted(DOCS)
        with pytest.raises(IndexInUseError, match=rf"is being written by .* \(pid {os.getpid()}\): wait for it"):
            open_index(wire.url, EMBEDDER, create=True)
        with pytest.raises(IndexInUseError, match="wait for it"):
            reader.remove(["a.md"])
        writer.remove(["a.md"])
        assert documents_of(reader) == ["b.md", "c/b.md"], "what changed is seen at once"
        with pytest.raises(IndexInUseError, match="wait for it"):
            reader.catalogue.give(["b.md"], {"team": ("Sea",)})
    with open_index(wire.url, EMBEDDER) as second:
        second.remove(["b.md"])
        assert documents_of(second) == ["c/b.md"]


def test_a_lease_runs_out_and_its_old_holder_is_told() -> None:
    client = QdrantClient(":memory:")
    memory(client, create=True).close()
    now = 1e9
    server = Server(client, "memory", parallel=1)
    first, second = (Lease(server, Names.of("default").documents, lambda: now) for _ in range(2))
    assert first.hold()
    assert not first.hold(), "renewed"
    now += server_lease.LEASE_S - 1
    with pytest.raises(IndexInUseError, match="others may write in 1 min"):
        second.hold()
    now += 2
    assert not first.hold(), "nobody has taken it"
    now += server_lease.LEASE_S + 1
    assert second.hold()
    with pytest.raises(IndexInUseError, match="was taken over"):
        first.hold()
    second.release()
    second.release()
    assert Lease(server, Names.of("default").documents, lambda: now).hold()


def test_settings_of_the_collections(docs: Path) -> None:
    """Those that the client's local mode keeps; the indexes are seen in the requests."""
    asked: list[tuple[str, str, Any]] = []

    class Watched(QdrantClient):
        def create_payload_index(
            self, collection_name: str, field_name: str, field_schema: Any = None, **_: Any
        ) -> Any:
            asked.append((collection_name, field_name, field_schema))

    client = Watched(":memory:")
    memory(client, create=True).close()
    config = client.get_collection("rag_passages_default").config.params
    assert config.vectors == {"dense": models.VectorParams(size=16, distance=models.Distance.COSINE)}
    assert config.sparse_vectors == {"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    tenants = [(name, field) for name, field, schema in asked if getattr(schema, "is_tenant", False)]
    assert tenants == [("rag_passages_default", "document_id"), ("rag_documents_default", "document_id")]


def test_points_are_those_of_a_folder(docs: Path, tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    run(client, docs)
    with Place("edge", tmp_path, "").open(create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
        wanted = {}
        for document in index.documents():
            for id_, point in index.store.points(document.document_id).items():
                wanted[id_] = point.chunk.text
    points, _ = client.scroll("rag_passages_default", limit=100)
    assert {str(point.id): (point.payload or {})["text"] for point in points} == wanted
    assert {key for point in points for key in point.payload or {}} == {
        *("document_id", "document", "index", "start", "end", "text", "headings", "pages")
    }


def test_collections_of_a_server(wire: StandIn, docs: Path) -> None:
    for name in ("zoo", "default", "Team_1.x"):
        with open_index(wire.url, EMBEDDER, create=True, collection=name) as index:
            pipeline.ingest([docs], index, EMBEDDER)
    assert [(found.name, found.documents, found.chunks, found.embedder) for found in collections_at(wire.url)] == [
        (name, 3, 2, "hash-16") for name in ("default", "Team_1.x", "zoo")
    ]
    with pytest.raises(IndexProblem, match=r"there are default, Team_1\.x, zoo"):
        open_index(wire.url, EMBEDDER, collection="other")


def test_points_of_somebody_else_are_left_alone() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("rag_passages_default", vectors_config={})
    client.upsert("rag_passages_default", [models.PointStruct(id=1, vector={}, payload={})])
    with pytest.raises(IndexMismatchError, match="choose another --collection"):
        memory(client, create=True)
    assert client.count("rag_passages_default").count == 1


def test_an_index_that_vanishes_and_a_text_that_is_lost(docs: Path) -> None:
    client = QdrantClient(":memory:")
    run(client, docs)
    kinds = {"text": "text of document", "codes": "token codes of 0 of 1"}
    with memory(client) as index:
        (document, *_) = index.documents()
        for kind, told in kinds.items():
            gone = models.Filter(
                must=[
                    models.FieldCondition(key="kind", match=models.MatchValue(value=kind)),
                    models.FieldCondition(key="document_id", match=models.MatchValue(value=document.document_id)),
                ]
            )
            if kind == "codes":
                client.delete("rag_documents_default", models.FilterSelector(filter=gone))
                assert told in index.damage()["a.md"]
            else:
                held, _ = client.scroll("rag_documents_default", gone)
                client.delete("rag_documents_default", models.FilterSelector(filter=gone))
                with pytest.raises(IndexDamagedError, match=told):
                    index.text(document.document_id)
                client.upsert(
                    "rag_documents_default",
                    [models.PointStruct(id=point.id, vector={}, payload=point.payload) for point in held],
                )
        client.delete_collection("rag_documents_default")
        client.create_collection("rag_documents_default", vectors_config={})
        with pytest.raises(IndexDamagedError, match="deleted while it was in use"):
            index.documents()


@pytest.mark.parametrize("text", ["", "x", "Крюк\n\0 船" * 1000])
def test_texts_are_packed_whole(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.server_layout.TEXT_PIECE", 16)
    pieces = packed(text)
    assert all(len(piece) <= 16 for piece in pieces)
    assert unpacked(pieces) == text
    with pytest.raises(Exception, match=r"incomplete|padding|[Ii]ncorrect"):
        unpacked(pieces[:-1])


def test_names_of_two_collections_never_meet() -> None:
    names = ["a", "documents_a", "passages_a", "default"]
    places = [place for name in names for place in (Names.of(name).passages, Names.of(name).documents)]
    assert len({*places}) == len(places)
    with pytest.raises(IndexProblem, match="a name has"):
        Names.of("../x")


def test_no_rebuild_of_a_server(wire: StandIn) -> None:
    from ingest.index import rebuild_index

    with pytest.raises(IndexProblem, match="is a server"):
        rebuild_index(wire.url, HashEmbedder(16))
    with pytest.raises(IndexProblem, match="no index on memory"):
        list_collections(Server(QdrantClient(":memory:"), "memory", parallel=1))

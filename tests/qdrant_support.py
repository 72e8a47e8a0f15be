"""What the tests of a server's index share: places to open an index at, and a stand-in that speaks Qdrant's REST.

The stand-in takes requests with the models that Qdrant's client has of the server's own interface, and carries them out
with the client's local mode. It shows what goes over the wire, not what a real server does with it: for that, set
QDRANT_URL.
"""

import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

from ingest.document_index import DocumentIndex
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.server_client import Server
from ingest.server_index import ServerIndex
from ingest.server_layout import Names
from ingest.types import Embedder

EMBEDDER = HashEmbedder(16)
REAL = os.environ.get("QDRANT_URL", "")
KINDS = ["edge", "local", "wire", *(["real"] if REAL else [])]
"""Edge; the client's local mode; the stand-in over HTTP; a server at QDRANT_URL."""
Answer = tuple[int, dict[str, str], bytes]


class Place:
    """Where one index is, to be opened as often as wanted."""

    def __init__(self, kind: str, folder: Path, url: str, name: str = "contract") -> None:
        self.kind = kind
        self.folder = folder
        self.url = url
        self.name = name

    def open(self, *, create: bool = False, embedder: Embedder = EMBEDDER) -> Any:
        """A :class:`DocumentIndex`; Any, as tests look at what both kinds have."""
        if self.kind == "edge":
            return EdgeIndex(self.folder / "edge", embedder, create=create)
        if self.kind == "local":
            server = Server(QdrantClient(path=str(self.folder / "local")), "local", parallel=1)
        else:
            server = Server.at(self.url)
        return ServerIndex(server, embedder, collection=self.name, create=create)


@contextmanager
def place_of(kind: str, folder: Path) -> Iterator[Place]:
    if kind == "wire":
        with stand_in() as wire:
            yield Place(kind, folder, wire.url)
    elif kind == "real":
        place = Place(kind, folder, REAL, f"contract-{uuid.uuid4().hex[:12]}")
        yield place
        with closing(Server.at(REAL)) as server:
            names = Names.of(place.name)
            for collection in (names.passages, names.documents):
                server.ask(server.client.delete_collection, collection)
    else:
        yield Place(kind, folder, "")


class StandIn:
    """``before`` and ``after`` are called around each request with its number, from 1, and its path; a response that
    ``before`` returns is sent in place of the real one. ``seen``: (method, path, headers) of every request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = QdrantClient(":memory:")
        self.lock = threading.Lock()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.before: Callable[[int, str], Answer | None] = lambda number, path: None
        self.after: Callable[[int, str], None] = lambda number, path: None

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        for wanted, pattern, carry_out in _ROUTES:
            match = re.fullmatch(pattern, path)
            if wanted == method and match:
                try:
                    found = carry_out(self.client, match["name"] if match.groups() else "", json.loads(body or b"{}"))
                except ValueError as error:
                    status = 404 if "not found" in str(error) else 400
                    return status, {}, json.dumps({"status": {"error": str(error)}}).encode()
                return 200, {}, json.dumps({"result": _plain(found), "status": "ok", "time": 0.0}).encode()
        return 404, {}, b"no such path"


def _plain(found: Any) -> Any:
    if isinstance(found, BaseModel):
        return json.loads(found.model_dump_json())
    if isinstance(found, list):
        return [_plain(one) for one in found]
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    return found


_PUT: Any = TypeAdapter(models.PointsList)
_DELETE: Any = TypeAdapter(models.FilterSelector | models.PointIdsList)
_BATCH: Any = TypeAdapter(models.UpdateOperations)


def _create(client: QdrantClient, name: str, body: Any) -> bool:
    asked = models.CreateCollection.model_validate(body)
    return client.create_collection(
        name,
        vectors_config=asked.vectors,
        sparse_vectors_config=asked.sparse_vectors,
        hnsw_config=asked.hnsw_config,
        optimizers_config=asked.optimizers_config,
        on_disk_payload=asked.on_disk_payload,
    )


def _scroll(client: QdrantClient, name: str, body: Any) -> Any:
    asked = models.ScrollRequest.model_validate(body)
    points, at = client.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit,
        offset=asked.offset,
        with_payload=asked.with_payload,
        with_vectors=asked.with_vector,
    )
    return {"points": points, "next_page_offset": at}


def _upsert(client: QdrantClient, name: str, body: Any) -> Any:
    asked = _PUT.validate_python(body)
    return client.upsert(name, asked.points, update_filter=asked.update_filter)


def _query(client: QdrantClient, name: str, body: Any) -> Any:
    return client.query_batch_points(name, models.QueryRequestBatch.model_validate(body).searches)


def _retrieve(client: QdrantClient, name: str, body: Any) -> Any:
    asked = models.PointRequest.model_validate(body)
    return client.retrieve(name, asked.ids, with_payload=asked.with_payload, with_vectors=asked.with_vector)


def _count(client: QdrantClient, name: str, body: Any) -> Any:
    asked = models.CountRequest.model_validate(body)
    return client.count(name, count_filter=asked.filter, exact=asked.exact)


def _batch(client: QdrantClient, name: str, body: Any) -> Any:
    return client.batch_update_points(name, _BATCH.validate_python(body).operations)


def _done(client: QdrantClient, name: str, body: Any) -> Any:
    models.CreateFieldIndex.model_validate(body)
    return {"operation_id": 1, "status": "completed"}


_AT = "/collections/(?P<name>[^/]+)"
_ROUTES: list[tuple[str, str, Callable[[QdrantClient, str, Any], Any]]] = [
    ("GET", "/collections", lambda client, name, body: client.get_collections()),
    ("GET", f"{_AT}/exists", lambda client, name, body: {"exists": client.collection_exists(name)}),
    ("PUT", _AT, _create),
    ("PUT", f"{_AT}/index", _done),
    ("PUT", f"{_AT}/points", _upsert),
    ("POST", f"{_AT}/points", _retrieve),
    ("POST", f"{_AT}/points/scroll", _scroll),
    ("POST", f"{_AT}/points/count", _count),
    ("POST", f"{_AT}/points/batch", _batch),
    ("POST", f"{_AT}/points/query/batch", _query),
    ("POST", f"{_AT}/points/delete", lambda client, name, body: client.delete(name, _DELETE.validate_python(body))),
]


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """One on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.partition("?")[0]
            with wire.lock:
                wire.seen.append((self.command, path, dict(self.headers)))
                number = len(wire.seen)
                answer = wire.before(number, path)
                status, headers, content = answer or wire.answer(self.command, path, body)
                wire.after(number, path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    wire = StandIn(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def documents_of(index: DocumentIndex) -> list[str]:
    return [document.source for document in index.documents()]

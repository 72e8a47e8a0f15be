"""The catalogue of an index on a server: the facts are points there (:mod:`ingest.server_layout`), mirrored in memory.

Questions are answered by SQLite from the mirror, so that filters mean what they mean in a folder. The mirror is read
when it is first asked, without the texts, and again when the index's revision has changed; a process that may write is
the only one that does. What a plain search needs is asked of the server, so that it needs no mirror.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.catalogue import Catalogue
from ingest.errors import IndexDamagedError
from ingest.facts import FileStamp, PendingDocument, Refused, stamp_row
from ingest.fields import Fields
from ingest.kept import KeptChunk, chunk_sum
from ingest.listing import sizes
from ingest.server_client import Server, only
from ingest.server_layout import META_ID, Names, encoded, packed, piece_id, source_id, unpacked
from ingest.server_lease import Lease
from ingest.server_store import POINTS_A_REQUEST, ServerStore

if TYPE_CHECKING:
    from qdrant_client import models

_STAMP = ("source", "root", "document_id", "size", "mtime_ns", "seen_ns")
_OF_A_DOCUMENT = ["document", "text", "boilerplate", "codes"]
_SOURCES_A_REQUEST = 256


class ServerCatalogue(Catalogue):
    """See :class:`ingest.catalogue.Catalogue`. Whatever changes it needs the lease, and takes it."""

    def __init__(self, server: Server, names: Names, lease: Lease) -> None:
        super().__init__(Path(":memory:"))
        self._server = server
        self._names = names
        self._lease = lease
        self._loaded: int | None = None
        self._pinned: int | None = None

    def meta(self) -> dict[str, object]:
        """What the index was made with, empty where there is none; ``revision`` counts its changes."""
        exists = self._server.ask(self._server.client.collection_exists, self._names.documents)
        return self._made() if exists else {}

    def _made(self) -> dict[str, Any]:
        ask = self._server.ask
        found = ask(self._server.client.retrieve, self._names.documents, [META_ID], with_payload=True)
        payload = (found[0].payload or {}) if found else {}
        return {key: value for key, value in payload.items() if key != "kind"}

    def set_meta(self, facts: dict[str, object]) -> None:
        self._put([_point(META_ID, "meta", **facts, revision=1)])

    def revision(self) -> int:
        """A number that every change raises."""
        made = self._made()
        if not made:
            raise IndexDamagedError(
                f"the index on {self._server.shown} was deleted while it was in use: ingest its folders again"
            )
        return int(made["revision"])

    @contextmanager
    def pinned(self) -> Iterator[int]:
        """Within it, the mirror stays at the revision that this gives."""
        self._pinned = self.revision()
        try:
            yield self._pinned
        finally:
            self._pinned = None

    @property
    def changes(self) -> int:
        self._refresh()
        return super().changes

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._refresh()
        return super()._rows(query, values)

    def _refresh(self) -> None:
        if self._lease.held and self._loaded is not None:
            return
        revision = self._pinned if self._pinned is not None else self.revision()
        if revision != self._loaded:
            self._load()
            self._loaded = revision

    def _load(self) -> None:
        """Every fact but texts and token codes, in one scroll."""
        facts = only(kind=["source", "document", "refused"])
        found = [record.payload or {} for record in self._server.scroll(self._names.documents, facts)]
        sources = [point for point in found if point["kind"] == "source"]
        served = {point["document_id"] for point in sources}
        with self._transaction() as db:
            for table in ("sources", "documents", "refused", "document_fields", "given_fields"):
                db.execute(f"DELETE FROM {table}")
            for point in found:
                if point["kind"] == "document":
                    _add_document(db, point, "committed" if point["document_id"] in served else "pending")
                elif point["kind"] == "refused":
                    row = (*(point[key] for key in _STAMP), point["reason"])
                    db.execute("INSERT INTO refused VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for point in sources:
                db.execute("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?)", [point[key] for key in _STAMP])
                given = [(point["source"], key, value) for key, held in point["given"].items() for value in held]
                db.executemany("INSERT INTO given_fields VALUES (?, ?, ?)", given)

    def _writing(self) -> None:
        if self._lease.hold():
            self._loaded = None
        self._refresh()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Around a change of the mirror and of the server: if it fails in between, the mirror is read anew."""
        self._writing()
        try:
            yield
        except BaseException:
            self._loaded = None
            raise

    def begin(self, pending: Sequence[PendingDocument]) -> None:
        with self._changing():
            facts = [_facts(item) for item in pending]
            for item, point in zip(pending, facts, strict=True):
                self._upload(item, point)
            self._server.settle()
            with self._transaction() as db:
                for point in facts:
                    _add_document(db, point, "pending")

    def _upload(self, item: PendingDocument, facts: dict[str, Any]) -> None:
        id_ = item.document.id
        to = self._names.documents
        self._server.upload(to, lambda: [_point(id_, **facts)])
        texts = {"text": item.document.text}
        if item.document.boilerplate:
            texts["boilerplate"] = json.dumps(item.document.boilerplate)
        for kind, text in texts.items():
            for part, piece in enumerate(packed(text)):
                self._server.upload(to, partial(_text_points, id_, kind, part, piece))
        for first in range(0, len(item.codes), POINTS_A_REQUEST):
            codes = item.codes[first : first + POINTS_A_REQUEST]
            self._server.upload(to, partial(_codes_points, id_, first, codes))

    def commit(self, stamps: Iterable[FileStamp], heirs: Mapping[str, str]) -> list[str]:
        """See :meth:`Catalogue.commit`. Each source is one point, and changes its document in one step."""
        with self._changing():
            served = list(stamps)
            stale = super().commit(served, heirs)
            self._put_sources(served)
            return stale

    def remove(self, sources: Sequence[str]) -> list[str]:
        with self._changing():
            stale = super().remove(sources)
            self._delete([source_id(source, kind) for source in sources for kind in ("source", "refused")])
            return stale

    def give(self, sources: Iterable[str], fields: Fields) -> None:
        with self._changing():
            named = set(sources)
            super().give(named, fields)
            self._put_sources([stamp for source, stamp in self.stamps().items() if source in named])

    def refuse(self, refused: Refused) -> None:
        with self._changing():
            super().refuse(refused)
            stamp = dict(zip(_STAMP, stamp_row(refused.stamp), strict=True))
            self._put(
                [_point(source_id(refused.stamp.source, "refused"), "refused", **stamp, reason=refused.reason)],
                changed=True,
            )

    def accept(self, sources: Iterable[str]) -> None:
        known = self.refused().keys() & set(sources)
        if known:
            with self._changing():
                super().accept(known)
                self._delete([source_id(source, "refused") for source in sorted(known)])

    def forget(self, ids: Sequence[str]) -> None:
        from qdrant_client import models

        with self._changing():
            unfinished = set(self.unfinished())
            gone = [id_ for id_ in ids if id_ in unfinished]
            if gone:
                selected = models.FilterSelector(filter=only(kind=_OF_A_DOCUMENT, document_id=gone))
                self._server.ask(self._server.client.delete, self._names.documents, selected, wait=True)
            super().forget(ids)

    def _put_sources(self, stamps: Sequence[FileStamp]) -> None:
        wanted = json.dumps([stamp.source for stamp in stamps])
        query = (
            "SELECT source, key, value FROM given_fields WHERE source IN (SELECT value FROM json_each(?)) "
            "ORDER BY source, key, value"
        )
        given: dict[str, dict[str, list[str]]] = {}
        for source, key, value in self._rows(query, [wanted]):
            given.setdefault(source, {}).setdefault(key, []).append(value)
        points = [
            _point(
                source_id(stamp.source),
                "source",
                **dict(zip(_STAMP, stamp_row(stamp), strict=True)),
                given=given.get(stamp.source, {}),
            )
            for stamp in stamps
        ]
        self._put(points, changed=True)

    def _put(self, points: Sequence[models.PointStruct], *, changed: bool = False) -> None:
        """Upsert; ``changed`` raises the revision, in the last request."""
        rest = [*points, self._raised()] if changed else [*points]
        for at in range(0, len(rest), _SOURCES_A_REQUEST):
            part = rest[at : at + _SOURCES_A_REQUEST]
            self._server.ask(self._server.client.upsert, self._names.documents, part, wait=True)

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete points, then raise the revision, in one request."""
        from qdrant_client import models

        self._server.ask(
            self._server.client.batch_update_points,
            self._names.documents,
            [
                models.DeleteOperation(delete=models.PointIdsList(points=list(ids))),
                models.UpsertOperation(upsert=models.PointsList(points=[self._raised()])),
            ],
            wait=True,
        )

    def _raised(self) -> models.PointStruct:
        made = self._made()
        made["revision"] = self._loaded = int(made.get("revision", 0)) + 1
        return _point(META_ID, "meta", **made)

    def source_of(self, document_ids: Iterable[str]) -> dict[str, str]:
        """See :meth:`Catalogue.source_of`; as the server has it now."""
        wanted = list(document_ids)
        found: dict[str, str] = {}
        if wanted:
            named = only(kind="source", document_id=wanted)
            for record in self._server.scroll(self._names.documents, named, payload=["source", "document_id"]):
                point = record.payload or {}
                id_, source = point["document_id"], point["source"]
                found[id_] = min(found.get(id_, source), source)
        return found

    def text(self, document_id: str) -> str:
        try:
            return unpacked(self._pieces(document_id, "text"))
        except (ValueError, zlib.error) as error:
            raise self._lost("text", document_id) from error

    def boilerplate(self, document_id: str) -> tuple[str, ...]:
        """See :meth:`Catalogue.boilerplate`. A document without any has no pieces of it."""
        pieces = self._pieces(document_id, "boilerplate")
        try:
            return tuple(json.loads(unpacked(pieces))) if pieces else ()
        except (ValueError, zlib.error) as error:
            raise self._lost("boilerplate", document_id) from error

    def _pieces(self, document_id: str, kind: str) -> list[str]:
        wanted = only(kind=kind, document_id=document_id)
        # Eight pieces are at most 8 MiB.
        found = [record.payload or {} for record in self._server.scroll(self._names.documents, wanted, page=8)]
        return [point["text"] for point in sorted(found, key=lambda point: int(point["part"]))]

    def _lost(self, kind: str, document_id: str) -> IndexDamagedError:
        return IndexDamagedError(
            f"the {kind} of document {document_id} is missing or damaged on {self._server.shown}: remove it with "
            "'rag docs remove' and ingest its folder again"
        )

    def codes(self, places: Sequence[tuple[str, int]]) -> list[bytes]:
        """See :meth:`Catalogue.codes`; empty where a document has just been replaced."""
        ids = [piece_id(document_id, "codes", index) for document_id, index in places]
        if not ids:
            return []
        ask = self._server.ask
        found = ask(self._server.client.retrieve, self._names.documents, ids, with_payload=["codes"])
        held = {str(record.id): base64.b64decode((record.payload or {})["codes"]) for record in found}
        return [held.get(id_, b"") for id_ in ids]

    def chunks(self, document_id: str) -> list[KeptChunk]:
        """See :meth:`Catalogue.chunks`; from the points themselves."""
        points = ServerStore(self._server, self._names.passages).points(document_id)
        stored = sorted(points.values(), key=lambda point: point.chunk.index)
        codes: list[bytes] = []
        for first in range(0, len(stored), POINTS_A_REQUEST):
            part = stored[first : first + POINTS_A_REQUEST]
            codes += self.codes([(document_id, point.chunk.index) for point in part])
        return [
            KeptChunk(
                document_id=document_id,
                id=point.chunk.id,
                index=point.chunk.index,
                start=point.chunk.start,
                end=point.chunk.end,
                headings=point.chunk.headings,
                pages=point.chunk.pages,
                chunk_sum=chunk_sum(point.chunk),
                vector=point.dense,
                codes=own,
                sound=bool(len(point.dense)),
            )
            for point, own in zip(stored, codes, strict=True)
        ]


def _facts(item: PendingDocument) -> dict[str, Any]:
    """What is kept of a document, its text, boilerplate and codes apart."""
    document = item.document
    return {
        "kind": "document",
        "document_id": document.id,
        "content_hash": document.content_hash,
        **sizes(item),
        "warnings": list(document.warnings),
        "fields": {key: list(values) for key, values in document.fields.items()},
    }


def _add_document(db: sqlite3.Connection, point: Mapping[str, Any], state: str) -> None:
    """To the mirror, without its text and boilerplate."""
    id_ = point["document_id"]
    counts = (point["chunks"], point["characters"], point["covered"])
    row = (id_, point["content_hash"], state, *counts, json.dumps(point["warnings"]), b"", b"")
    db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    fields = [(id_, key, value) for key, values in point["fields"].items() for value in values]
    db.executemany("INSERT OR IGNORE INTO document_fields VALUES (?, ?, ?)", fields)


def _text_points(document_id: str, kind: str, part: int, piece: str) -> list[models.PointStruct]:
    return [_point(piece_id(document_id, kind, part), kind, document_id=document_id, part=part, text=piece)]


def _codes_points(document_id: str, first: int, codes: Sequence[bytes]) -> list[models.PointStruct]:
    return [
        _point(piece_id(document_id, "codes", index), "codes", document_id=document_id, codes=encoded(held))
        for index, held in enumerate(codes, start=first)
    ]


def _point(id_: str, kind: str, **payload: Any) -> models.PointStruct:
    from qdrant_client import models

    return models.PointStruct(id=id_, vector={}, payload={"kind": kind, **payload})

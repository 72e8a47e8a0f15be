"""Where an index lies on a server: two Qdrant collections for each of ours, and the kinds of points in the second.

rag_passages_NAME   the chunks: ids, vectors and payload as in a folder
rag_documents_NAME  points without vectors, told apart by ``kind``:
                    meta      what the index was made with, and a revision that every change raises
                    lease     who may write, and until when
                    document  a document's facts, the fields of its front matter among them
                    text      a piece of its extracted text
                    boilerplate  a piece of what was left out of its text, where there is any
                    codes     token codes of one of its chunks
                    source    a file as it was seen, the document that it has, the fields given to it
                    refused   a file that its parser has given up, and why

A document is served as soon, and as long, as a ``source`` names it: to replace one is to write one point.
"""

from __future__ import annotations

import base64
import uuid
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.collections import check_collection
from ingest.points import DENSE, SPARSE
from ingest.server_client import Server

if TYPE_CHECKING:
    from qdrant_client import models

PREFIX = "rag_documents_"
_NAMESPACE = uuid.UUID("b6f1f3f4-6f0b-5d0e-8a53-0a5a5b1c9d27")
META_ID = str(uuid.uuid5(_NAMESPACE, "meta"))
LEASE_ID = str(uuid.uuid5(_NAMESPACE, "lease"))
TEXT_PIECE = 2**20
"""Characters of base64 in one ``text`` point: a request has to stay below 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The two Qdrant collections of one of ours."""

    passages: str
    documents: str

    @classmethod
    def of(cls, collection: str) -> Names:
        """Raises :class:`ingest.errors.IndexProblem` for a name that cannot be one."""
        check_collection(collection)
        return cls(passages=f"rag_passages_{collection}", documents=f"{PREFIX}{collection}")


def source_id(source: str, kind: str = "source") -> str:
    """Of a source's point; ``kind``: source or refused."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{source}"))


def piece_id(document_id: str, kind: str, number: int) -> str:
    """Of a point of a document; ``kind``: text, boilerplate or codes."""
    return str(uuid.uuid5(uuid.UUID(document_id), f"{kind} {number}"))


def packed(text: str) -> list[str]:
    """A text as the pieces in which it is kept, at least one."""
    whole = encoded(zlib.compress(text.encode()))
    return [whole[at : at + TEXT_PIECE] for at in range(0, len(whole), TEXT_PIECE)]


def unpacked(pieces: list[str]) -> str:
    """The text of :func:`packed`. Raises :class:`ValueError` or :class:`zlib.error` where pieces are missing."""
    return zlib.decompress(base64.b64decode("".join(pieces), validate=True)).decode()


def encoded(data: bytes) -> str:
    """Bytes as a payload holds them."""
    return base64.b64encode(data).decode("ascii")


def create_collections(server: Server, names: Names, dimension: int) -> None:
    """Both, where they are not there yet; small ones cost little, and grow without being made anew.

    Whatever is read, filtered or deleted is so by document, which is therefore Qdrant's tenant here: its points lie
    together on disk, and a large one has a graph of its own. Payloads stay on disk, so that memory is for the vectors.
    """
    from qdrant_client import models

    small = models.OptimizersConfigDiff(default_segment_number=2)
    if not server.ask(server.client.collection_exists, names.passages):
        server.ask(
            server.client.create_collection,
            names.passages,
            vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=16, payload_m=16),
            optimizers_config=small,
            on_disk_payload=True,
        )
    if not server.ask(server.client.collection_exists, names.documents):
        server.ask(
            server.client.create_collection,
            names.documents,
            vectors_config={},
            optimizers_config=small,
            on_disk_payload=True,
        )
    keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD)
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    number = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
    indexes: list[tuple[str, str, models.KeywordIndexParams | models.IntegerIndexParams]] = [
        (names.passages, "document_id", tenant),
        (names.passages, "document", number),
        (names.documents, "document_id", tenant),
        (names.documents, "kind", keyword),
        (names.documents, "token", keyword),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's local mode says that it has no use for them
        for collection, field, schema in indexes:
            server.ask(server.client.create_payload_index, collection, field, field_schema=schema, wait=True)

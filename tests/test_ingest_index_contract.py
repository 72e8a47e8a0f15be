"""What every index does alike: in a folder, on the client's local mode, over HTTP, and on a server at QDRANT_URL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_support import light_parse_files, state, write_files
from qdrant_support import EMBEDDER, KINDS, Place, documents_of, place_of

from ingest import pipeline
from ingest.document_index import DocumentIndex
from ingest.edge import Bm25
from ingest.embed import HashEmbedder
from ingest.errors import FieldError, IndexMismatchError, IndexMissingError, IndexProblem, SourceNotFoundError
from ingest.facts import FileStamp, PendingDocument, Refused
from ingest.fields import parse_meta
from ingest.filters import parse_filters
from ingest.late import late_query
from ingest.transfer import export_index, import_index
from ingest.types import Document, SparseVector

DOCS = {
    "boats/orrin.md": "# The MV Orrin\nShe carries 214 passengers and was launched at Tollan yard.\n" * 6,
    "boats/pip.md": "# The MV Pip\nThe smaller boat carries 60 passengers.",
    "boats/old/pip.txt": "# The MV Pip\nThe smaller boat carries 60 passengers.",
    "pets.md": "# Pets\nDogs travel free on the open deck. Cats stay in a carrier.",
    "site.md": "~Home\nThe office is at the quay.\n~Крюк > Prices\n~",
    "crew.md": "# Crew\nThe engineer of the Orrin is Marit. She joined at Tollan. Крюк, naïve, 船.",
    "empty.md": "",
}
QUERIES = ["dogs on the open deck", "how many passengers has the boat", "zeppelin"]
FILTERS = [(), ("path=boats", "type=markdown"), ("team=Sea", "team=Shore"), ("path=*r*", "date>=2000"), ("path=cars",)]


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_files(tmp_path / "docs", dict(DOCS))


def ingest(docs: Path, index: DocumentIndex, **options: Any) -> pipeline.IngestReport:
    return pipeline.ingest([docs], index, EMBEDDER, **options)


def fill(docs: Path, index: DocumentIndex) -> None:
    ingest(docs, index)
    index.catalogue.give(["pets.md", "crew.md"], parse_meta(["team=Sea"]))
    index.catalogue.give(["boats/pip.md"], parse_meta(["team=Shore", "team=Harbour"]))


def found(index: DocumentIndex, query: str, mode: str, *filters: str, limit: int = 5) -> Any:
    dense, (tokens,) = EMBEDDER.encode_tokens([query])
    return index.search(
        dense[0] if mode != "sparse" else None,
        Bm25().query(query) if mode != "dense" else None,
        late_query(tokens, [False] * len(tokens.spans)) if mode == "late" else None,
        limit=limit,
        filters=parse_filters(filters),
    )


def sources(index: DocumentIndex, query: str, *filters: str) -> set[str]:
    return {hit.chunk.source for hit in found(index, query, "hybrid", *filters, limit=50).hits}


def contents(index: DocumentIndex) -> dict[str, Any]:
    """All of an index that must be the same wherever it is, but vectors, whose last bits an engine may round."""
    rest: dict[str, Any] = {}
    for document in index.documents():
        text = index.text(document.document_id)
        kept = index.catalogue.chunks(document.document_id)
        points: Any = index.store
        stored = points.points(document.document_id)
        terms = [sorted(zip(stored[c.id].sparse.indices, stored[c.id].sparse.values, strict=True)) for c in kept]
        left_out = index.catalogue.boilerplate(document.document_id)
        rest[document.source] = (document, text, left_out, [chunk.codes for chunk in kept], terms)
    own = {id_: index.catalogue.document_fields(id_) for id_ in index.catalogue.document_ids()}
    given = (index.catalogue.given_fields(), index.catalogue.coverage(), own)
    return {"state": state(index), "rest": rest, "given": given, "stamps": index.catalogue.stamps()}  # type: ignore[arg-type]


def vectors(index: DocumentIndex) -> Any:
    ids = sorted(index.catalogue.document_ids())
    return np.stack([chunk.vector for id_ in ids for chunk in index.catalogue.chunks(id_)])


def test_hits_are_those_of_the_embedded_index(docs: Path, place: Place, tmp_path: Path) -> None:
    with place.open(create=True) as index, Place("edge", tmp_path / "same", "").open(create=True) as edge:
        fill(docs, index)
        fill(docs, edge)
        for mode in ("dense", "sparse", "hybrid", "late"):
            for query in QUERIES:
                for filters in FILTERS:
                    got, wanted = found(index, query, mode, *filters), found(edge, query, mode, *filters)
                    assert [hit.chunk for hit in got.hits] == [hit.chunk for hit in wanted.hits], (mode, query, filters)
                    assert [hit.codes for hit in got.hits] == [hit.codes for hit in wanted.hits]
                    assert [h.score for h in got.hits] == pytest.approx([h.score for h in wanted.hits], abs=1e-4)
                    assert got.best_cosine == pytest.approx(wanted.best_cosine, abs=1e-4)


def test_what_it_holds_is_what_the_embedded_index_holds(docs: Path, place: Place, tmp_path: Path) -> None:
    with place.open(create=True) as index, Place("edge", tmp_path / "same", "").open(create=True) as edge:
        fill(docs, index)
        fill(docs, edge)
        got, wanted = contents(index), contents(edge)
        # The time at which a file was seen is of each run.
        assert got.pop("stamps").keys() == wanted.pop("stamps").keys()
        assert got == wanted
        assert np.allclose(vectors(index), vectors(edge), atol=1e-6)
        assert index.damage() == {}


def test_filters(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
        for texts, wanted in [
            (("path=boats",), {"boats/orrin.md", "boats/pip.md", "boats/old/pip.txt"}),
            (("type=text",), {"boats/old/pip.txt"}),
            (("team=Sea",), {"pets.md", "crew.md"}),
            (("team=Sea", "team=Harbour"), {"pets.md", "crew.md", "boats/pip.md"}),
            (("team=Sea", "path=crew.md"), {"crew.md"}),
            (("date<1990",), set()),
        ]:
            assert {document.source for document in index.documents(parse_filters(texts))} == wanted
            assert sources(index, "passengers", *texts) <= wanted
        with pytest.raises(FieldError, match="team"):
            index.documents(parse_filters(["colour=red"]))
        with pytest.raises(SourceNotFoundError, match="docs list"):
            found(index, "passengers", "hybrid", "source=nowhere.md")


def test_a_changed_file_replaces_its_chunks(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
        write_files(docs, {"pets.md": "Parrots may fly."})
        report = ingest(docs, index)
        assert (report.updated, report.unchanged) == (1, len(DOCS) - 1)
        text = index.text(index.catalogue.find("pets.md").document_id)
        assert text == "Parrots may fly."
        assert all("Dogs" not in hit.chunk.text for hit in found(index, "dogs deck parrots", "hybrid", limit=50).hits)
        assert index.catalogue.find("pets.md").fields == {"team": ("Sea",)}, "given to the source, not to its content"
        state(index)


def test_removed_sources_and_shared_content(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
        first, second = index.catalogue.find("boats/pip.md"), index.catalogue.find("boats/old/pip.txt")
        assert first.document_id != second.document_id, "of another format"
        write_files(docs, {"boats/copy.md": DOCS["boats/pip.md"]})
        assert ingest(docs, index).chunks == 0
        assert index.catalogue.find("boats/copy.md").document_id == first.document_id
        index.remove(["boats/copy.md"])
        assert "boats/pip.md" in sources(index, "the smaller boat")
        index.remove(["boats/pip.md"])
        assert sources(index, "the smaller boat", "path=boats") == {"boats/old/pip.txt", "boats/orrin.md"}
        with pytest.raises(SourceNotFoundError):
            index.catalogue.find("boats/pip.md")
        assert index.store.count([first.document_id]) == 0
        state(index)


def test_prune_and_renames(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
        (docs / "pets.md").rename(docs / "animals.md")
        (docs / "crew.md").unlink()
        report = ingest(docs, index, prune=True)
        assert report.chunks == 0
        assert "animals.md" in documents_of(index)
        assert {"pets.md", "crew.md"}.isdisjoint(documents_of(index))
        state(index)


def pending(text: str) -> tuple[PendingDocument, SparseVector, FileStamp]:
    from ingest_support import document_of

    from ingest.chunk import ChunkPolicy, chunk_document

    document: Document = document_of([(text, "text", 0)], "new.md")
    (chunk,) = chunk_document(document, EMBEDDER.counter, ChunkPolicy(window=EMBEDDER.window))
    item = PendingDocument(document=document, chunks=(chunk,), dense=EMBEDDER.encode([text]), codes=(b"\1" * 32,))
    stamp = FileStamp(source="new.md", root="/r", size=1, mtime_ns=2, seen_ns=3, document_id=document.id)
    return item, Bm25().document(text), stamp


def test_what_is_not_committed_is_not_served_and_is_swept(docs: Path, place: Place) -> None:
    item, terms, _ = pending("aardvark zeppelin")
    with place.open(create=True) as index:
        fill(docs, index)
        before = contents(index)
        index.catalogue.begin([item])
        index.store.write(item.chunks, item.dense, [terms])
        index.store.flush()
        assert index.store.count() == index.catalogue.chunk_count() + 1
        assert "new.md" not in documents_of(index)
        assert {hit.chunk.document_id for hit in found(index, "aardvark zeppelin", "sparse").hits} == set()
        assert item.document.id not in {
            hit.chunk.document_id for hit in found(index, "aardvark zeppelin", "hybrid", limit=50).hits
        }
        assert not index.catalogue.holds(item.document.id)
    with place.open(create=True) as index:
        assert index.swept == 1
        assert contents(index) == before
    with place.open() as index:
        assert index.swept == 0


def test_refused_files_are_remembered(docs: Path, place: Place) -> None:
    _, _, stamp = pending("x")
    with place.open(create=True) as index:
        index.catalogue.refuse(Refused(stamp=stamp, reason="it hangs"))
    with place.open() as index:
        assert index.catalogue.refused() == {"new.md": Refused(stamp=stamp, reason="it hangs")}
        index.catalogue.accept(["new.md", "other.md"])
        assert index.catalogue.refused() == {}
    with place.open() as index:
        assert index.catalogue.refused() == {}


def test_what_was_left_out_and_what_looks_wrong_is_kept(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        report = ingest(docs, index)
        assert report.warnings == (pipeline.Warned(source="site.md", warning="much was left out"),)
        assert ingest(docs, index).warnings == (), "of the files that were read"
    with place.open() as index:
        found = index.catalogue.find("site.md")
        assert (found.warnings, found.coverage) == (("much was left out",), 1.0)
        assert index.catalogue.boilerplate(found.document_id) == ("~Home", "~Крюк > Prices", "~")
        assert index.catalogue.boilerplate(index.catalogue.find("pets.md").document_id) == ()
        assert index.catalogue.warnings() == {"site.md": ("much was left out",)}
        write_files(docs, {"site.md": "~Home\nThe office has moved."})
        assert ingest(docs, index).warnings == ()
        assert index.catalogue.boilerplate(index.catalogue.find("site.md").document_id) == ("~Home",)


def test_it_is_the_same_when_it_is_opened_again(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
        before = contents(index)
    with place.open() as index:
        assert contents(index) == before
        assert ingest(docs, index).unchanged == len(DOCS)
    with pytest.raises(IndexProblem, match="open it again"):
        index.documents()
    index.close()


def test_another_embedder_is_refused(docs: Path, place: Place) -> None:
    with place.open(create=True) as index:
        fill(docs, index)
    for create in (False, True):
        with pytest.raises(IndexMismatchError, match="--embedder hash-16"):
            place.open(create=create, embedder=HashEmbedder(32))
    with place.open() as index:
        assert len(index.documents()) == len(DOCS)


def test_no_index_there(place: Place) -> None:
    for _ in range(2):
        with pytest.raises(IndexMissingError, match="rag ingest"):
            place.open()


def test_any_sequence_of_runs_ends_like_one(docs: Path, place: Place, tmp_path: Path) -> None:
    steps: list[dict[str, str | None]] = [
        {"a.md": "One line.", "b.md": "Two lines.\nSecond."},
        {"a.md": "Two lines.\nSecond.", "pets.md": None},
        {"b.md": None, "boats/orrin.md": "Shorter now.", "c/d.md": "One line."},
        {"a.md": None, "c/d.md": None, "crew.md": DOCS["pets.md"]},
    ]
    for step in steps:
        for name, text in step.items():
            if text is None:
                (docs / name).unlink()
            else:
                write_files(docs, {name: text})
        with place.open(create=True) as index:
            ingest(docs, index, prune=True)
    with place.open() as index, Place("edge", tmp_path / "clean", "").open(create=True) as clean:
        ingest(docs, clean)
        assert state(index) == state(clean)


def test_an_export_moves_everything(docs: Path, place: Place, tmp_path: Path) -> None:
    """A folder -> this kind of index -> a folder again."""
    (tmp_path / "there").mkdir()
    with Place("edge", tmp_path / "there", "").open(create=True) as first:
        fill(docs, first)
        wanted, dense = contents(first), vectors(first)
        done = export_index(first, tmp_path / "first.gz")
    assert (done.documents, done.sources) == (len(wanted["rest"]), len(DOCS))
    with place.open(create=True) as index:
        moved = import_index(tmp_path / "first.gz", index, EMBEDDER)
        assert (moved.documents, moved.held, moved.sources) == (done.documents, 0, done.sources)
        assert contents(index) == wanted
        assert np.allclose(vectors(index), dense, atol=1e-6)
        again = import_index(tmp_path / "first.gz", index, EMBEDDER)
        assert (again.documents, again.held, again.chunks) == (0, done.documents, 0)
        assert contents(index) == wanted
        export_index(index, tmp_path / "second.gz")
    with Place("edge", tmp_path / "back", "").open(create=True) as back:
        import_index(tmp_path / "second.gz", back, EMBEDDER)
        assert contents(back) == wanted
        assert np.allclose(vectors(back), dense, atol=1e-6)
        assert ingest(docs, back).unchanged == len(DOCS), "the files' stamps travel too"

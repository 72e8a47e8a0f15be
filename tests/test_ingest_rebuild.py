"""Damage is told before anything is served from it, and what the catalogue keeps is enough to mend the store."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_support import CountingEmbedder, full_state, light_parse_files, write_files
from typer.testing import CliRunner

from ingest import edge_index as index_module
from ingest import pipeline
from ingest.edge import Bm25, EdgeStore
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import IndexDamagedError, IndexMissingError, IndexProblem, SourceNotFoundError
from ingest.fields import parse_meta
from ingest.filters import parse_filters
from ingest.index import rebuild_index
from ingest.late import late_query
from rag.cli.main import app

EMBEDDER = HashEmbedder(16)
QUERIES = ("boat passengers", "dogs deck")
DOCS = {
    "boats.md": "\n".join(f"# Boat {n}\nBoat number {n} carries {n * 7} passengers to Orrin.\n" * 3 for n in range(9)),
    "pets.md": "# Pets\nDogs travel free on the open deck. Cats stay in a carrier.",
    "copy.md": "# Pets\nDogs travel free on the open deck. Cats stay in a carrier.",
    "crew.txt": "The chief engineer is Marit Solheim.",
}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/ and index/, never changed."""
    home = tmp_path_factory.mktemp("made")
    docs = write_files(home / "docs", dict(DOCS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "parse_files", light_parse_files)
        with EdgeIndex(home / "index", EMBEDDER, create=True) as index:
            pipeline.ingest([docs], index, EMBEDDER, fields=parse_meta(["team=Sea"]))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    # Kept sparse: most of a store's files is room for what is to come.
    def copied(source: str, target: str) -> None:
        Path(target).write_bytes(b"")
        data = Path(source).read_bytes()
        with Path(target).open("r+b") as file:
            file.truncate(len(data))
            file.write(data.rstrip(b"\0"))
        shutil.copystat(source, target)

    shutil.copytree(made / "index", tmp_path / "index", copy_function=copied)
    shutil.copytree(made / "docs", tmp_path / "docs")
    return tmp_path


def whole(home: Path) -> dict[str, Any]:
    with EdgeIndex(home / "index", EMBEDDER) as index:
        assert index.damage() == {}
        return full_state(index, QUERIES)


def damaged(home: Path) -> dict[str, str]:
    with EdgeIndex(home / "index", EMBEDDER) as index:
        return index.damage()


def sql(home: Path, query: str) -> None:
    with sqlite3.connect(home / "index" / "catalogue.sqlite3") as db:
        assert db.execute(query).rowcount
    db.close()


def zero(file: Path) -> None:
    """Overwrite what is not zero anyway."""
    data = file.read_bytes()
    with file.open("r+b") as opened:
        opened.write(bytes(len(data.rstrip(b"\0"))))


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "no vectors": ("vector_storage-dense/vectors/chunk_0.mmap", zero),
    "vectors gone": ("vector_storage-dense/vectors/chunk_0.mmap", Path.unlink),
    "vectors forgotten": ("vector_storage-dense/vectors/status.dat", Path.unlink),
    "the engine panics": ("vector_storage-dense/vectors/status.dat", lambda file: file.write_bytes(b"") and None),
    "half of the points": (
        "mutable_id_tracker.mappings",
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]) and None,
    ),
    "no points": ("mutable_id_tracker.mappings", Path.unlink),
    "no texts": ("payload_storage/tracker.dat", zero),
    "texts gone": ("payload_storage/page_0.dat", Path.unlink),
    "texts overwritten": ("payload_storage/page_0.dat", zero),
    "no terms": ("vector_storage-sparse/store/tracker.dat", zero),
    "terms gone": ("vector_storage-sparse/store/page_0.dat", Path.unlink),
    "a segment not known": ("version.info", Path.unlink),
    "no payload index": ("payload_index/config.json", Path.unlink),
    "a broken state": ("segment.json", zero),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_to_the_store_is_told_and_mended(name: str, home: Path, made: Path) -> None:
    pattern, damage = DAMAGE[name]
    files = list((home / "index" / "shard" / "segments").glob(f"*/{pattern}"))
    assert files
    for file in files:
        damage(file)
    try:
        told = list(damaged(home).values())
    except IndexDamagedError as error:
        told = [str(error)]
    # Terms are kept in memory: a store that can be opened without them still has them in no file that is read.
    if name == "no terms" and not told:
        told = ["rag docs rebuild"]
    assert told
    assert all("rag docs rebuild" in reason for reason in told)
    report = rebuild_index(str(home / "index"), EMBEDDER)
    assert (report.documents, report.embedded, report.lost) == (3, 0, {})
    assert whole(home) == whole(made)


def test_a_lost_store_is_made_again(home: Path, made: Path) -> None:
    shutil.rmtree(home / "index" / "shard")
    with pytest.raises(IndexDamagedError, match="0 chunks, its catalogue says"):
        EdgeIndex(home / "index", EMBEDDER)
    rebuild_index(str(home / "index"), EMBEDDER)
    assert whole(home) == whole(made)


def test_points_of_no_document(home: Path, made: Path) -> None:
    with EdgeIndex(home / "index", EMBEDDER) as index:
        pets = index.catalogue.find("pets.md").document_id
        (chunk,) = index.store.chunks(pets)
        index.store.delete([pets])
        other = "00000000-0000-4000-8000-000000000000"
        terms = Bm25().document("text")
        stray = type(chunk)(**{name: getattr(chunk, name) for name in chunk.__slots__} | {"document_id": other})
        index.store.write([stray], np.ones((1, 16), np.float32), [terms])
        index.store.flush()
    with pytest.raises(IndexDamagedError, match="2 documents differ"):
        EdgeIndex(home / "index", EMBEDDER)
    rebuild_index(str(home / "index"), EMBEDDER)
    assert whole(home) == whole(made)


@pytest.mark.parametrize("at", ["half", "moved"])
def test_a_rebuild_that_dies_is_begun_again(at: str, home: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        if at == "half":
            patch.setattr(EdgeStore, "flush", _die)
        else:
            patch.setattr(Path, "rename", _die_in_the_middle(Path.rename))
        with pytest.raises(KeyboardInterrupt):
            rebuild_index(str(home / "index"), EMBEDDER)
    assert whole(home) == whole(made), "what it was to replace is still there"
    rebuild_index(str(home / "index"), EMBEDDER)
    assert whole(home) == whole(made)
    assert {path.name for path in (home / "index").iterdir()} >= {"shard", "catalogue.sqlite3"}
    assert not list((home / "index").glob("shard.*"))


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def _die_in_the_middle(real: Callable[..., Path]) -> Callable[..., Path]:
    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".rebuilt"):
            raise KeyboardInterrupt
        return real(self, target)

    return rename


CODES = {
    "cut": "UPDATE chunks SET codes=substr(codes, 1, 33) WHERE chunk=0",
    "a token short": "UPDATE chunks SET codes=substr(codes, 1, length(codes) - 32) WHERE chunk=0",
    "empty": "UPDATE chunks SET codes=x'' WHERE chunk=0",
    "a bit": "UPDATE chunks SET codes=CAST(x'00' || substr(codes, 2) AS BLOB) WHERE chunk=0",
    "of another chunk": "UPDATE chunks SET codes=(SELECT codes FROM chunks WHERE chunk=1) WHERE chunk=0",
    "gone": "DELETE FROM chunks WHERE chunk=0",
}


@pytest.fixture
def unsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large index, of which few chunks are looked at when it is opened."""
    monkeypatch.setattr(index_module, "SAMPLE", 0)


@pytest.mark.usefixtures("unsampled")
@pytest.mark.parametrize("how", CODES)
def test_damaged_token_codes_are_told_and_mended(how: str, home: Path, made: Path) -> None:
    sql(home, CODES[how])
    with EdgeIndex(home / "index", EMBEDDER) as index:
        assert sorted(index.damage()) == sorted(DOCS), "each has a chunk 0"
        dense, (tokens,) = EMBEDDER.encode_tokens(["dogs on the open deck"])
        late = late_query(tokens, [False] * len(tokens.spans))
        with pytest.raises(IndexDamagedError, match=r"token codes of \S+, chunk 0, are missing.*rag docs rebuild"):
            index.search(dense[0], Bm25().query("dogs"), late)
    report = rebuild_index(str(home / "index"), EMBEDDER)
    if how == "gone":
        assert sorted(report.lost) == sorted(DOCS)
    else:
        assert (report.lost, report.embedded) == ({}, 3)
        assert whole(home) == whole(made)


def test_damage_to_what_the_catalogue_keeps_is_seen_by_the_sample(home: Path) -> None:
    sql(home, CODES["a bit"])
    with pytest.raises(IndexDamagedError, match="not what its catalogue keeps"):
        EdgeIndex(home / "index", EMBEDDER)


def test_damaged_vectors_are_embedded_again(home: Path, made: Path) -> None:
    sql(home, "UPDATE chunks SET vector=zeroblob(64) WHERE chunk=1")
    embedder = CountingEmbedder()
    report = rebuild_index(str(home / "index"), embedder)
    assert (report.embedded, embedder.embedded, report.lost) == (1, 1, {})
    assert whole(home) == whole(made)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET place='garbage'",
        """UPDATE chunks SET place=replace(place, ', [', '9, [')""",
        "UPDATE chunks SET place_sum=place_sum + 1",
        "DELETE FROM chunks",
        "UPDATE documents SET text=x'00ff' WHERE 1",
        "UPDATE documents SET text=substr(text, 1, length(text) - 9) WHERE 1",
        "UPDATE documents SET boilerplate=x'00ff' WHERE 1",
    ],
)
@pytest.mark.usefixtures("unsampled")
def test_what_cannot_be_repaired_waits_for_the_next_run(damage: str, home: Path, made: Path) -> None:
    column = "id" if "documents" in damage else "document_id"
    which = f"{column}=(SELECT document_id FROM sources WHERE source='pets.md')"
    sql(home, f"{damage} {'AND' if 'WHERE' in damage else 'WHERE'} {which}")
    before = whole(made)
    assert sorted(damaged(home)) == ["copy.md", "pets.md"]
    report = rebuild_index(str(home / "index"), EMBEDDER)
    assert (report.documents, sorted(report.lost)) == (2, ["copy.md", "pets.md"])
    with EdgeIndex(home / "index", EMBEDDER) as index:
        assert [document.source for document in index.documents()] == ["boats.md", "crew.txt"]
        assert all("ingest its folder again" in reason for reason in index.damage().values())
        assert sorted(index.damage()) == ["copy.md", "pets.md"]
        with pytest.raises(SourceNotFoundError, match="ingest its folder again"):
            index.catalogue.find("pets.md")
        assert index.documents(parse_filters(["team=Sea", "path=*.md"]))[0].source == "boats.md"
        assert {hit.chunk.source for hit in searched(index, "dogs")} <= {"boats.md", "crew.txt"}
    assert sorted(rebuild_index(str(home / "index"), EMBEDDER).lost) == ["copy.md", "pets.md"], "still told"
    # The files have moved with the test: to the catalogue they are of the folder that they came from.
    sql(home, f"UPDATE sources SET root='{home / 'docs'}'")
    with EdgeIndex(home / "index", EMBEDDER) as index:
        report_ = pipeline.ingest([home / "docs"], index, EMBEDDER)
        assert (report_.updated, report_.unchanged, report_.failed) == (2, 2, ())
    after = whole(home)
    assert after["documents"] == before["documents"]
    assert [after[source][:3] for source in DOCS] == [before[source][:3] for source in DOCS], "with their fields"


@pytest.mark.usefixtures("unsampled")
def test_a_lost_document_whose_file_is_gone_is_pruned_or_removed(home: Path) -> None:
    sql(home, "DELETE FROM chunks WHERE document_id=(SELECT document_id FROM sources WHERE source='pets.md')")
    sql(home, f"UPDATE sources SET root='{home / 'docs'}'")
    rebuild_index(str(home / "index"), EMBEDDER)
    (home / "docs" / "pets.md").unlink()
    (home / "docs" / "copy.md").unlink()
    with EdgeIndex(home / "index", EMBEDDER) as index:
        index.remove([index.catalogue.find_source("pets.md")])
        assert sorted(index.damage()) == ["copy.md"]
        pipeline.ingest([home / "docs"], index, EMBEDDER, prune=True)
        assert index.damage() == {}


@pytest.mark.usefixtures("unsampled")
def test_while_a_lost_document_is_written_nothing_of_it_is_served(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql(home, "DELETE FROM chunks WHERE document_id=(SELECT document_id FROM sources WHERE source='pets.md')")
    sql(home, f"UPDATE sources SET root='{home / 'docs'}'")
    rebuild_index(str(home / "index"), EMBEDDER)
    real = EdgeStore.flush
    seen: list[set[str]] = []

    def look(self: EdgeStore) -> None:
        real(self)
        seen.append({hit.chunk.source for hit in searched(index, "dogs cats deck")})

    with EdgeIndex(home / "index", EMBEDDER) as index:
        monkeypatch.setattr(EdgeStore, "flush", look)
        pipeline.ingest([home / "docs"], index, EMBEDDER)
        assert "copy.md" in {hit.chunk.source for hit in searched(index, "dogs cats deck")}
    assert seen
    assert all(sources <= {"boats.md", "crew.txt"} for sources in seen)


def test_any_number_of_places(home: Path) -> None:
    with EdgeIndex(home / "index", EMBEDDER) as index:
        (pets,) = [d.document_id for d in index.documents() if d.source == "pets.md"]
        found = index.catalogue.codes([(pets, 0)] * 40_000)
        assert (len(found), len(set(found))) == (40_000, 1)
        others = [f"{number:08x}" for number in range(40_000)]
        assert index.catalogue.source_of([*others, pets]) == {pets: "copy.md"}


def test_nothing_to_rebuild(home: Path) -> None:
    with pytest.raises(IndexMissingError, match="rag ingest"):
        rebuild_index(str(home / "nowhere"), EMBEDDER)
    with pytest.raises(IndexProblem, match="server"):
        rebuild_index("http://localhost:6333", EMBEDDER)
    (home / "index" / "catalogue.sqlite3").unlink()
    with pytest.raises(IndexDamagedError, match="lost its catalogue"):
        rebuild_index(str(home / "index"), EMBEDDER)


def searched(index: EdgeIndex, query: str) -> Any:
    return index.search(EMBEDDER.encode([query])[0], Bm25().query(query)).hits


def test_the_commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: EMBEDDER)
    folder = str(home / "index")

    def run(*words: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, ["docs", *words, "--index", folder, "--json"])
        return done.exit_code, json.loads(done.stdout)

    assert run("verify") == (0, {"documents": 4, "damaged": {}})
    shutil.rmtree(home / "index" / "shard")
    code, report = run("verify")
    assert (code, list(report["damaged"])) == (1, [folder])
    code, report = run("rebuild")
    assert (code, report) == (0, {"documents": 3, "chunks": report["chunks"], "embedded": 0, "lost": {}})
    assert run("verify") == (0, {"documents": 4, "damaged": {}})
    sql(home, "DELETE FROM chunks WHERE document_id=(SELECT document_id FROM sources WHERE source='crew.txt')")
    code, report = run("rebuild")
    assert (code, list(report["lost"])) == (1, ["crew.txt"])
    sql(home, "INSERT INTO refused VALUES ('bad.pdf', '/', '', 1, 1, 1, 'its parser crashed')")
    code, report = run("list")
    assert (code, report["failed"]) == (0, [{"source": "bad.pdf", "error": "its parser crashed"}])
    assert [document["source"] for document in report["documents"]] == ["boats.md", "copy.md", "pets.md"]
    (home / "index" / "catalogue.sqlite3").write_bytes(b"garbage" * 1000)
    code, report = run("rebuild")
    assert (code, list(report["lost"])) == (1, [folder])

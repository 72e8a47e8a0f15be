"""Kill ingest with SIGKILL, again and again: what of what it had finished is lost, half there or there twice?

Half of the kills come at times spread over the whole run, half right before or after a write to the store or the
catalogue. Every run is `rag ingest --prune` in a process of its own, on a folder that is edited after each kill. After
each kill the index is opened and looked at as a reader does; after every fourth, a run that is left alone must end at
exactly what one clean run makes of the files. By default a run embeds with HashEmbedder and takes paragraphs for
elements, and what it writes is sealed early, so that writes and sealing, and not the loading of models, fill the time;
--real takes the real model and parser processes.

python bench/kills.py [--kills 200] [--files 100] [--real] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from machine import print_head

WRITES = {
    "Catalogue": ("begin", "commit", "forget", "remove", "refuse", "accept"),
    "EdgeStore": ("write", "flush", "delete", "_seal", "_take"),
}
"""By class, the methods that change an index; a failpoint is before or after the n-th call of one."""
WORDS = [f"word{number}" for number in range(400)]


@dataclass(slots=True)
class Tally:
    """What the kills have done; all but ``kills`` and ``acknowledged`` must stay at 0."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    half: int = 0
    double: int = 0
    orphans: int = 0
    odd: int = 0
    places: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    print_head(data=f"{arguments.files} made files", embedder="real" if arguments.real else "HashEmbedder")
    with tempfile.TemporaryDirectory(prefix="kills-") as home:
        tally = kill(Path(home), arguments.kills, arguments.files, arguments.seed, real=arguments.real)
    report(tally)
    sys.exit(1 if tally.lost or tally.half or tally.double or tally.orphans or tally.odd else 0)


def report(tally: Tally) -> None:
    """The table."""
    for name, value in [
        ("kills", tally.kills),
        ("documents that were committed before a kill", tally.acknowledged),
        ("of these lost", tally.lost),
        ("documents half there", tally.half),
        ("sources with two versions", tally.double),
        ("chunks of no document", tally.orphans),
        ("runs that did not end at the clean result", tally.odd),
    ]:
        print(f"{name:45s} {value:6d}")
    print("killed:", ", ".join(f"{place} {count}" for place, count in sorted(tally.places.items())))


def kill(home: Path, kills: int, files: int, seed: int, *, real: bool = False) -> Tally:
    """Kill runs on files below ``home`` so many times."""
    dice = random.Random(seed)
    docs, index, log = home / "docs", home / "index", home / "log"
    write_all(docs, files, dice)
    clean(docs, home / "first", real=real)
    length = left_alone(docs, home / "timed", log, real=real)
    points = failpoints(dice)
    tally = Tally()
    while tally.kills < kills:
        before = set(served(index, real=real)) if index.exists() else set()
        log.write_bytes(b"")
        place = next(points) if tally.kills % 2 else ""
        killed = run(docs, index, log, place, dice.uniform(0, length) if not place else None, real=real)
        after = look(index, tally, real=real)
        said = acknowledged(log)
        if killed:
            tally.kills += 1
            tally.places[place.rsplit(":", 1)[0] or "at a random time"] += 1
            tally.acknowledged += len(said)
        tally.lost += sum(after.get(source) != document for source, document in said.items())
        # What was there before, and was neither replaced nor removed in this run, is still there.
        on_disk = {path.relative_to(docs).as_posix() for path in docs.rglob("*") if path.is_file()}
        tally.lost += len((before & on_disk) - after.keys())
        if tally.kills % 4 == 0:
            length = left_alone(docs, index, log, real=real)
            tally.odd += served(index, real=real) != clean(docs, home / "clean", real=real)
            if dice.random() < 0.3:
                shutil.rmtree(index)
        edit(docs, dice)
    return tally


def left_alone(docs: Path, index: Path, log: Path, *, real: bool) -> float:
    """Seconds of a run that is not killed."""
    began = time.monotonic()
    run(docs, index, log, "", real=real)
    return time.monotonic() - began


def failpoints(dice: random.Random) -> Iterator[str]:
    """class.method:before|after:n, in any order, over and over."""
    places = [
        f"{owner}.{method}:{when}:{call}"
        for owner, methods in WRITES.items()
        for method in methods
        for when in ("before", "after")
        for call in (1, 2, 3)
    ]
    while True:
        yield from dice.sample(places, len(places))


def write_all(docs: Path, files: int, dice: random.Random) -> None:
    for number in range(files):
        write(docs / f"part{number % 5}" / f"file{number}.md", dice)


def write(file: Path, dice: random.Random) -> None:
    """Some headings with some sentences; here and there a file that cannot be read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        f"# Title {dice.randrange(99)}\n\n" + " ".join(dice.choices(WORDS, k=dice.randrange(5, 120))) + ".\n\n"
        for _ in range(dice.randrange(1, 5))
    ]
    file.write_bytes(b"\x00\x01\x02 no text" if dice.random() < 0.03 else "".join(parts).encode())


def edit(docs: Path, dice: random.Random) -> None:
    """Change, rename and copy a few files; as many are added as deleted."""
    files = sorted(path for path in docs.rglob("*") if path.is_file())
    chosen = dice.sample(files, max(5, len(files) // 4))
    for file in chosen[:2]:
        file.unlink()
    chosen[2].rename(chosen[2].with_name(f"moved{dice.randrange(10**6)}.md"))
    shutil.copy(chosen[3], chosen[3].with_name(f"copy{dice.randrange(10**6)}.md"))
    write(docs / f"new{dice.randrange(10**6)}.md", dice)
    for file in chosen[4:]:
        write(file, dice)


def run(docs: Path, index: Path, log: Path, point: str, seconds: float | None = None, *, real: bool) -> bool:
    """One run in a process of its own; True if it was killed, at its failpoint or after so many seconds."""
    errors = log.with_name("errors")
    process = processes().Process(target=child, args=(docs, index, log, errors, point), kwargs={"real": real})
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    if process.exitcode not in {0, 1, -signal.SIGKILL}:
        raise SystemExit(f"a run ended with {process.exitcode}: {errors.read_text()}")
    return bool(process.exitcode == -signal.SIGKILL)


def processes() -> Any:
    """Each is forked off one that has imported everything and opened nothing, which takes no time."""
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kills", "rag.cli.main", "ingest.pipeline", "qdrant_edge"])
    return context


def child(docs: Path, index: Path, log: Path, errors: Path, point: str, *, real: bool) -> None:
    """`rag ingest`, which notes in the log what it has committed and dies at its failpoint."""
    from ingest.catalogue import Catalogue
    from ingest.edge import EdgeStore

    for number, place in ((1, Path(os.devnull)), (2, errors)):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    owners: dict[str, Any] = {"Catalogue": Catalogue, "EdgeStore": EdgeStore}
    notes = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    commit, remove = Catalogue.commit, Catalogue.remove

    def noted(self: Any, stamps: Any, *rest: Any) -> Any:
        stamps = list(stamps)
        found = commit(self, stamps, *rest)
        os.write(notes, f"{json.dumps({s.source: s.document_id for s in stamps})}\n".encode())
        return found

    def noted_too(self: Any, sources: Any) -> Any:
        found = remove(self, sources)
        os.write(notes, f"{json.dumps(dict.fromkeys(sources))}\n".encode())
        return found

    patch.multiple(Catalogue, commit=noted, remove=noted_too).start()
    if point:
        name, when, call = point.split(":")
        owner, method = name.split(".")
        setattr(owners[owner], method, dying(getattr(owners[owner], method), when == "after", int(call)))
    if not real:
        stand_in()
    from rag.cli.main import main as rag

    sys.argv = ["rag", "ingest", str(docs), "--index", str(index), "--prune", "--json", "--workers", "1"]
    rag()


def dying(real: Any, after: bool, call: int) -> Any:
    calls = 0

    def method(*values: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*values)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return method


def stand_in() -> None:
    """No models, no parser processes, one element a paragraph; groups so small that a run has many, and as many chunks
    sealed at a time."""
    import ingest.embed
    from ingest import edge, pipeline

    def here(files: Any, counter: Any, policy: Any, workers: int, ocr: str) -> Iterator[Any]:
        del workers, ocr
        for file in files:
            yield paragraphs(file, counter, policy)

    def hashing(name: str) -> Any:
        del name
        return embedder(real=False)

    patch.multiple(pipeline, parse_files=here, GROUP_CHUNKS=24).start()
    patch.object(edge, "SEALED", 60).start()
    patch.object(ingest.embed, "open_embedder", hashing).start()


def paragraphs(file: Any, counter: Any, policy: Any) -> Any:
    from ingest.chunk import chunk_document
    from ingest.formats import format_of
    from ingest.parse import content_hash, document_id
    from ingest.types import Document, Element
    from ingest.workers import ParsedFile, Unparsed

    data = file.path.read_bytes()
    if b"\0" in data:
        return Unparsed(reason="cannot be read", lasting=True)
    elements: list[Element] = []
    for text in data.decode().split("\n\n"):
        start = elements[-1].end + 1 if elements else 0
        elements.append(Element(text=text, kind="text", page=None, start=start, end=start + len(text)))
    hash_ = content_hash(data)
    id_ = document_id(hash_, format_of(file.path))
    document = Document(id=id_, source=file.source, content_hash=hash_, elements=tuple(elements))
    return ParsedFile(document=document, chunks=chunk_document(document, counter, policy), seconds=0.0)


def embedder(*, real: bool) -> Any:
    from ingest.embed import HashEmbedder, open_embedder

    return open_embedder() if real else HashEmbedder(32)


def acknowledged(log: Path) -> dict[str, str]:
    """By source, the document that it had when the process was killed; of what was committed in that run."""
    found: dict[str, str | None] = {}
    for line in log.read_text().splitlines():
        found |= json.loads(line)
    return {source: document for source, document in found.items() if document is not None}


def look(index: Path, tally: Tally, *, real: bool) -> dict[str, str]:
    """What a reader finds after a kill: by source its document, all of it; and what should not be there."""
    from ingest.edge import Bm25
    from ingest.edge_index import EdgeIndex
    from ingest.errors import IndexDamagedError

    if not (index / "catalogue.sqlite3").exists():
        return {}
    model = embedder(real=real)
    try:
        found = EdgeIndex(index, model)
    except IndexDamagedError as error:
        print(error)
        tally.half += 1
        shutil.rmtree(index)
        return {}
    with found as opened:
        documents = opened.documents()
        damage = opened.damage()
        tally.half += len(damage)
        held = {document.document_id for document in documents}
        stored = opened.store.counts()
        tally.orphans += sum(count for id_, count in stored.items() if id_ not in held)
        tally.orphans += opened.store.count() - sum(stored.values())
        query = " ".join(WORDS[:20])
        hits = opened.search(model.encode([query])[0], Bm25().query(query), limit=100).hits
        versions: dict[str, set[str]] = {}
        for hit in hits:
            versions.setdefault(hit.chunk.source, set()).add(hit.chunk.document_id)
        tally.double += sum(len(ids) > 1 for ids in versions.values())
        tally.double += len(documents) - len({document.source for document in documents})
    return {document.source: document.document_id for document in documents}


def served(index: Path, *, real: bool) -> dict[str, Any]:
    """By source, all that is kept and stored of it; of one that was refused, of which an older version may be served,
    only that it was."""
    from ingest.edge_index import EdgeIndex

    found: dict[str, Any] = {}
    if not (index / "catalogue.sqlite3").exists():
        return found
    with EdgeIndex(index, embedder(real=real)) as opened:
        refused = opened.catalogue.refused()
        for document in opened.documents():
            if document.source in refused:
                continue
            kept = opened.catalogue.chunks(document.document_id)
            points = opened.store.points(document.document_id)
            text = opened.catalogue.text(document.document_id)
            parts = [
                (points[item.id].chunk, item.chunk(text), item.codes, points[item.id].dense.round(3).tolist())
                for item in kept
            ]
            found[document.source] = (document, text, parts)
        found["refused"] = {source: item.reason for source, item in refused.items()}
    return found


def clean(docs: Path, index: Path, *, real: bool) -> dict[str, Any]:
    """What one run makes of the files."""
    shutil.rmtree(index, ignore_errors=True)
    run(docs, index, index.with_name("clean log"), "", real=real)
    return served(index, real=real)


if __name__ == "__main__":
    main()

"""Nothing that parses, embeds or writes opens a connection; and the whole of it once, on the real parts."""

import json
from pathlib import Path

from ingest_support import CORPUS, ROOT, run_python, write_files

WHOLE = """if True:
    import json, os, socket, sys
    from pathlib import Path

    tried = []
    real = socket.socket.connect

    def connect(self, address):
        if self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"):
            return real(self, address)
        tried.append(str(address))
        raise OSError("the network is denied")

    def resolve(host, *_, **__):
        if host not in (None, "localhost", "127.0.0.1", "::1"):
            tried.append(str(host))
        raise OSError("the network is denied")

    socket.socket.connect = socket.socket.connect_ex = connect
    socket.getaddrinfo = resolve
    for name in ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.pop(name, None)

    from ingest import pipeline
    from ingest.edge import Bm25
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from ingest.workers import parse_file, ParsedFile

    def here(files, counter, policy, workers, ocr):
        # In this process, where the network is denied; the next test runs the child processes.
        for file in files:
            yield parse_file(str(file.path), file.source, counter, policy)

    pipeline.parse_files = here
    embedder = open_embedder()
    docs, folder = map(Path, sys.argv[1:])
    with open_index(str(folder), embedder, create=True) as index:
        first = pipeline.ingest([docs], index, embedder)
        second = pipeline.ingest([docs], index, embedder)
        question = "How much is a new cup wheel for the Polar?"
        dense, sparse = embedder.encode([question])[0], Bm25().query(question)
        found = {
            mode: [hit.chunk.source for hit in index.search(*given).hits]
            for mode, given in {"hybrid": (dense, sparse), "dense": (dense, None), "sparse": (None, sparse)}.items()
        }
        best = index.search(dense, sparse).best_cosine
    print(json.dumps({
        "tried": tried,
        "failed": [f"{f.source}: {f.error}" for f in first.failed],
        "counts": [first.files, first.added, first.chunks, second.unchanged, second.chunks],
        "coverage": first.coverage,
        "found": found,
        "best": best,
    }))
"""


NAMES = ["product/spare parts guide.md", "product/price-list.html"]


def test_the_real_parts_without_a_network(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {name: (CORPUS / name).read_bytes() for name in NAMES})
    done = run_python(WHOLE, str(docs), str(tmp_path / "index"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["tried"] == []
    assert result["failed"] == []
    files, added, chunks, unchanged, embedded_again = result["counts"]
    assert files == added == unchanged == 2
    assert chunks > 20
    assert embedded_again == 0
    assert result["coverage"] == 1.0
    assert all("product/spare parts guide.md" in sources[:5] for sources in result["found"].values())
    assert 0.3 < result["best"] <= 1.0


CHILDREN = """if True:
    import sys
    from pathlib import Path
    from ingest import pipeline
    from ingest.embed import HashEmbedder
    from ingest.index import open_index

    if __name__ == "__main__":
        embedder = HashEmbedder()
        with open_index(sys.argv[2], embedder, create=True) as index:
            report = pipeline.ingest([Path(sys.argv[1])], index, embedder, workers=1)
            print(report.added, len(report.failed), report.coverage)
"""


def test_parsers_in_child_processes_try_nothing(tmp_path: Path) -> None:
    """``sitecustomize`` denies the network in every Python process and writes down each try."""
    guard = tmp_path / "guard"
    guard.mkdir()
    tries = tmp_path / "tries"
    (guard / "sitecustomize.py").write_text(
        "import socket\n"
        "def deny(self, address):\n"
        f"    open({str(tries)!r}, 'a').write(f'{{address}}\\n')\n"
        "    raise OSError('the network is denied')\n"
        "socket.socket.connect = socket.socket.connect_ex = deny\n"
        f"open({str(tries)!r} + '.guarded', 'a').write('process\\n')\n"
    )
    docs = tmp_path / "docs"
    docs.mkdir()
    for suffix in ("html", "md", "txt", "pdf", "docx"):
        source = min(CORPUS.rglob(f"*.{suffix}"), key=lambda file: file.stat().st_size)
        (docs / source.name).write_bytes(source.read_bytes())
    # LibreOffice takes seconds; a scan has no text.
    left_out = {".doc", ".gz", "scan.pdf"}
    others = [
        file for file in (ROOT / "tests" / "files" / "formats").iterdir() if not {file.suffix, file.name} & left_out
    ]
    for file in others:
        (docs / file.name).write_bytes(file.read_bytes())
    done = run_python(CHILDREN, str(docs), str(tmp_path / "index"), path=guard)
    assert done.stdout == f"{5 + len(others)} 0 1.0\n", done.stderr
    assert not tries.exists()
    guarded = Path(f"{tries}.guarded").read_text().splitlines()
    assert len(guarded) >= 2, "the run itself and its child"

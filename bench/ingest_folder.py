"""Ingest a folder into a new index, then again: seconds a stage, rates, memory, size on disk.

python bench/ingest_folder.py FOLDER [--workers N]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path

from machine import print_head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    from ingest.embed import open_embedder
    from ingest.index import open_index
    from ingest.pipeline import ingest
    from ingest.scan import scan

    files = scan([arguments.folder]).files
    size = sum(file.path.stat().st_size for file in files)
    embedder = open_embedder()
    print_head(data=f"{arguments.folder.name}, {len(files)} files, {size / 1e6:.1f} MB", embedder=embedder.name)
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first run", "second run, unchanged"):
            with open_index(f"{folder}/index", embedder, create=True) as index:
                report = ingest([arguments.folder], index, embedder, workers=arguments.workers)
            total = report.seconds["total"]
            print(f"\n{run}: {total:.2f} s, {report.files / total:.1f} files/s, {size / total / 1e6:.2f} MB/s")
            print(f"  documents: {report.added} added, {report.unchanged} unchanged, {len(report.failed)} failed")
            print(f"  chunks: {report.chunks}, {report.chunks / total:.1f} chunks/s, coverage {report.coverage}")
            print(f"  seconds: {report.seconds}")
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"\npeak memory: {report.peak_rss_mb} MB here, {children:.0f} MB in the largest parser process")
        blocks = sum(path.stat().st_blocks for path in Path(folder).rglob("*") if path.is_file())
        print(f"index on disk: {blocks * 512 / 1e6:.1f} MB")
        for failure in report.failed[:10]:
            print(f"failed: {failure.source}: {failure.error}")


if __name__ == "__main__":
    main()

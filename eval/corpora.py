"""The documents of an evaluation set as files that ``rag ingest`` reads, under names that gold documents have too.

A document becomes one HTML file: its title a heading, its text escaped, so that what is ingested is the text as it
was (Markdown would take its asterisks and underscores for markup). The file's name is the document's id where that is
a safe name on every disk, else what is safe of it and a part of the id's SHA-256.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.errors import InputError
from ingest.formats import FORMATS
from prompts.encoding import clean

SUFFIX = ".html"
_LONGEST = 100
_SAFE = re.compile(r"[^\W_][\w#+=-]*(?:\.[\w#+=-]+)*", re.ASCII)
"""No separator, no hidden file, nothing that a shell or a disk reads in its own way, no dot at the end."""
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_SKIPPED = frozenset({"node_modules"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PARAGRAPH = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusDocument:
    """A document of an evaluation set; ``title`` may be empty."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCorpus:
    """How many documents were written into a folder, and the ids of those that have no text to write."""

    documents: int
    empty: tuple[str, ...]


def document_names(ids: Iterable[str]) -> dict[str, str]:
    """Id -> name of the document's file without its suffix: unique, also where the disk does not tell case apart.

    A gold document of that name matches the file's source and no other's (:mod:`eval.retrieval_scores`).
    Raises :class:`InputError` for an id that comes twice.
    """
    listed = list(ids)
    if twice := [id_ for id_, count in Counter(listed).items() if count > 1]:
        raise InputError(f"the document {twice[0]!r} is in the corpus {listed.count(twice[0])} times: keep one of them")
    folded = Counter(id_.casefold() for id_ in listed)
    names = {id_: id_ if _is_safe(id_) and folded[id_.casefold()] == 1 else _hashed(id_) for id_ in listed}
    taken: dict[str, str] = {}
    for id_, name in names.items():
        if (other := taken.setdefault(name.casefold(), id_)) != id_:
            raise InputError(f"the documents {other!r} and {id_!r} would both be the file {name}: rename one")
    return names


def _is_safe(id_: str) -> bool:
    if len(id_) > _LONGEST or id_ in _SKIPPED or _DEVICES.fullmatch(id_) or not _SAFE.fullmatch(id_):
        return False
    return Path(id_).suffix.lower() not in FORMATS


def _hashed(id_: str) -> str:
    digest = hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kept = re.sub(r"[^A-Za-z0-9#]+", "_", id_).strip("_")[:40]
    return f"{kept}-{digest}" if kept else digest


def document_files(documents: Iterable[CorpusDocument], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(source, content of the file) of each document that has any text."""
    for document in documents:
        title, paragraphs = _printable(document.title), _PARAGRAPH.split(_printable(document.text))
        heading = [f"<h1>{html.escape(title, quote=False)}</h1>"] if title else []
        body = [f"<p>{html.escape(text.strip(), quote=False)}</p>" for text in paragraphs if text.strip()]
        if heading or body:
            yield names[document.id] + SUFFIX, "\n".join(['<meta charset="utf-8">', *heading, *body, ""])


def _printable(text: str) -> str:
    """Text that an HTML file can hold."""
    return _CONTROL.sub(" ", clean(text).replace("\r\n", "\n")).strip()


def write_documents(documents: Iterable[CorpusDocument], names: Mapping[str, str], folder: Path) -> WrittenCorpus:
    """Write one file per document into ``folder``, which must be new or empty.

    Raises :class:`InputError` when it is neither, or cannot be written.
    """
    written, empty = 0, []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"{folder} holds other files: pass a new or empty folder, for all of it will be ingested")
        for document in documents:
            files = list(document_files([document], names))
            for source, content in files:
                (folder / source).write_text(content, encoding="utf-8")
            written += len(files)
            if not files:
                empty.append(document.id)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): pass another --out") from error
    return WrittenCorpus(documents=written, empty=tuple(empty))

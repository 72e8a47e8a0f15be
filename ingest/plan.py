"""What an ingest run has to do: which files the index holds already, and which must be read."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ingest.catalogue import Catalogue
from ingest.errors import ParseError
from ingest.facts import FileStamp, Refused
from ingest.formats import MAX_FILE_BYTES, format_of
from ingest.parse import file_hash, may_have_scans
from ingest.scan import Scan, SourceFile, scan
from ingest.scans import Readings
from ingest.workers import unreadable

UNLISTED = "the folder cannot be listed: check its permissions"
_NOT_AGAIN = "not tried again, for the file is the one that failed: touch it to have it tried"
_STAMP_GRACE_NS = 2_000_000_000
"""A file that changed so shortly before it was seen may change again without a new time stamp: hash it."""
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1
"""What the catalogue can hold of a time: years 1677 to 2262."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be read, and why; what the index held of it before is still served."""

    source: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """A file that is as it was: nothing is to be done."""

    source: str


class Content(Enum):
    """What a file holds that is new, or has another size or time than before."""

    OWN = "what its source held before"
    KNOWN = "that of a document that the index holds: it was renamed, copied, or changed back"
    UNREAD = "one that must be parsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file of which the stamp is to be written, when its content is in the index."""

    file: SourceFile
    stamp: FileStamp
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an index knew of files when a run began, by source; and ``readings``, which texts of scanned files."""

    stamps: Mapping[str, FileStamp]
    refused: Mapping[str, Refused]
    readings: Readings

    @classmethod
    def of(cls, catalogue: Catalogue | None, ocr: str) -> Known:
        """``catalogue``: None where there is no index yet. ``ocr``: see :func:`ingest.pipeline.ingest`."""
        if catalogue is None:
            return cls(stamps={}, refused={}, readings=Readings(ocr=ocr))
        stamps = catalogue.stamps()
        documents = catalogue.documents() if any(may_have_scans(Path(source)) for source in stamps) else ()
        return cls(stamps=stamps, refused=catalogue.refused(), readings=Readings.of(documents, ocr))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do, as sources in order of name; ``failed`` without what only reading a file shows."""

    files: int
    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    failed: tuple[Failure, ...]


def plan(paths: Sequence[Path], catalogue: Catalogue | None, *, prune: bool = False, ocr: str = "") -> Plan:
    """What :func:`ingest.pipeline.ingest` would do now; nothing is parsed or written. ``catalogue``: None where there
    is no index yet.

    Raises :class:`ingest.errors.NothingToIngestError` for a path that does not exist, or for no file.
    """
    found = scan(paths)
    known = Known.of(catalogue, ocr)
    holds = catalogue.holds if catalogue is not None else lambda _: False
    failed = [Failure(source=folder.source, error=UNLISTED) for folder in found.unlisted]
    unchanged: list[str] = []
    written: list[str] = []
    for verdict in sort_out(found.files, known, holds):
        match verdict:
            case Failure():
                failed.append(verdict)
            case Same(source=source):
                unchanged.append(source)
            case Seen(file=file, content=content):
                (unchanged if content is Content.OWN else written).append(file.source)
    return Plan(
        files=len(found.files),
        added=tuple(sorted(source for source in written if source not in known.stamps)),
        updated=tuple(sorted(source for source in written if source in known.stamps)),
        unchanged=tuple(sorted(unchanged)),
        removed=tuple(sorted(gone(found, known.stamps.values()))) if prune else (),
        failed=tuple(sorted(failed, key=lambda failure: failure.source)),
    )


def sort_out(
    files: Sequence[SourceFile], known: Known, holds: Callable[[str], bool]
) -> Iterator[Failure | Same | Seen]:
    """What to do about each file, in order. One of which size and time are as they were costs a stat, any other a hash.

    ``holds``: whether a document id is one that the index serves.
    """
    owners = _owners(files, known.stamps)
    for file in files:
        try:
            _check_owner(file, owners[file.source], known.stamps.get(file.source))
            yield _verdict(file, known, holds)
        except ParseError as error:
            yield Failure(source=file.source, error=str(error))
        except OSError as error:
            yield Failure(source=file.source, error=unreadable(error))


def _verdict(file: SourceFile, known: Known, holds: Callable[[str], bool]) -> Failure | Same | Seen:
    found = file.path.stat()
    before = known.stamps.get(file.source)
    again = before is not None and before.document_id in known.readings.again
    if before is not None and not again and _same_file(before, file, found) and _trusted(before):
        return Same(source=file.source)
    refused = known.refused.get(file.source)
    if refused is not None and not _same_file(refused.stamp, file, found):
        refused = None
    # With OCR, what was refused without it has another id.
    with_ocr = known.readings.ocr and may_have_scans(file.path)
    if refused is not None and not with_ocr and _trusted(refused.stamp):
        return _refused_again(file, refused)
    stamp = _stamp(file, found, known.readings)
    if before is not None and before.document_id == stamp.document_id:
        return Seen(file=file, stamp=stamp, content=Content.OWN)
    if refused is not None and refused.stamp.document_id == stamp.document_id:
        return _refused_again(file, refused)
    content = Content.KNOWN if holds(stamp.document_id) else Content.UNREAD
    return Seen(file=file, stamp=stamp, content=content)


def _refused_again(file: SourceFile, refused: Refused) -> Failure:
    return Failure(source=file.source, error=f"{refused.reason} ({_NOT_AGAIN})")


def gone(found: Scan, stamps: Iterable[FileStamp]) -> list[str]:
    """The sources, of wholly listed folders, of which the file is not there any more."""
    present = {file.source for file in found.files}
    return [stamp.source for stamp in stamps if stamp.root in found.complete and stamp.source not in present]


def _owners(files: Sequence[SourceFile], known: Mapping[str, FileStamp]) -> dict[str, SourceFile]:
    """For each source name the one file that may bear it: of the folder it came from before, or the first."""
    owners: dict[str, SourceFile] = {}
    for file in files:
        before = known.get(file.source)
        if file.source not in owners or (before is not None and before.root == file.root):
            owners[file.source] = file
    return owners


def _check_owner(file: SourceFile, owner: SourceFile, before: FileStamp | None) -> None:
    root = owner.root if owner is not file else None
    if root is None and before is not None and before.root != file.root:
        root = before.root if Path(before.root, file.source).exists() else None
    if root is not None:
        raise ParseError(
            f"a file of the same name from {root} is in this index: "
            "ingest the folder above both, or use another --index"
        )


def _stamp(file: SourceFile, found: os.stat_result, readings: Readings) -> FileStamp:
    # Before anything of another kind is hashed.
    format_of(file.path)
    if not stat.S_ISREG(found.st_mode):
        raise ParseError("not a regular file: leave it out of the folder")
    if found.st_size > MAX_FILE_BYTES:
        raise ParseError(f"larger than {MAX_FILE_BYTES // 2**20} MiB: split it")
    seen_ns = time.time_ns()
    return FileStamp(
        source=file.source,
        root=file.root,
        size=found.st_size,
        mtime_ns=_mtime_ns(found),
        seen_ns=seen_ns,
        document_id=readings.id_of(file_hash(file.path), file.path),
    )


def _same_file(before: FileStamp, file: SourceFile, found: os.stat_result) -> bool:
    return before.root == file.root and before.size == found.st_size and before.mtime_ns == _mtime_ns(found)


def _trusted(stamp: FileStamp) -> bool:
    """Whether a file with this stamp has this content."""
    return stamp.seen_ns - stamp.mtime_ns > _STAMP_GRACE_NS


def _mtime_ns(found: os.stat_result) -> int:
    return max(_FIRST_NS, min(_LAST_NS, found.st_mtime_ns))

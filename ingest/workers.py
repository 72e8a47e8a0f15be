"""Files -> Documents and Chunks, in child processes: what hangs or kills its parser costs one file."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ingest.chunk import ChunkPolicy, chunk_document
from ingest.ctrl_c import ctrl_c_held_back
from ingest.errors import IngestError, MissingPartError
from ingest.parse import may_have_scans, parse_bytes
from ingest.scan import SourceFile
from ingest.types import Chunk, Document, TokenCounter

PARSE_SECONDS = 300.0
"""A file whose parser takes longer is given up."""
OCR_SECONDS = 3600.0
"""The same for a format that may have scanned pages, when these are to be read: about 800."""
PARSE_BYTES = 4 * 2**30
"""Address space of one parser process."""
_NO_MEMORY = f"it needs more memory than the {PARSE_BYTES // 2**30} GiB that its parser may take: split it"
_NOT_OF_THE_FILE = (ImportError, OSError, AttributeError)
"""Unexpected errors of a reader that may come from a library half loaded or a disk that is full: not held against a
file, which is tried again in the next run."""
_AHEAD = 4
"""Files handed out, for each worker, before the oldest result is taken: what bounds the memory of results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """``seconds`` are of the processor, in the child."""

    document: Document
    chunks: tuple[Chunk, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparsed:
    """Why a file has no result. ``lasting``: for what is in it, so that it would fail again."""

    reason: str
    lasting: bool


def parse_file(
    path: str, source: str, counter: TokenCounter, policy: ChunkPolicy, ocr: str = ""
) -> ParsedFile | Unparsed:
    """In a child process; ``ocr`` as for :func:`parse_files`. A reason instead of a result: exceptions of libraries do
    not always pickle."""
    began = time.process_time()
    try:
        document = parse_bytes(Path(path).read_bytes(), source, ocr)
        chunks = chunk_document(document, counter, policy)
    except IngestError as error:
        lacking = isinstance(error, MissingPartError) or isinstance(error.__cause__, _NOT_OF_THE_FILE)
        return Unparsed(reason=str(error), lasting=not lacking)
    except OSError as error:
        return Unparsed(reason=unreadable(error), lasting=False)
    except MemoryError:
        return Unparsed(reason=_NO_MEMORY, lasting=True)
    except Exception as error:
        reason = f"its text cannot be divided into passages ({type(error).__name__}: {error}): please report this"
        return Unparsed(reason=reason, lasting=False)
    return ParsedFile(document=document, chunks=chunks, seconds=time.process_time() - began)


def unreadable(error: OSError) -> str:
    """Why a file cannot be opened, and what to do."""
    return f"cannot be opened ({error.strerror or error}): check that it exists and its permissions"


def parse_files(
    files: Sequence[SourceFile], counter: TokenCounter, policy: ChunkPolicy, workers: int, ocr: str = ""
) -> Generator[ParsedFile | Unparsed, None, None]:
    """A result or the reason of its failure for each file, in order. ``ocr``: tesseract's languages, for scanned pages;
    empty to leave these.

    Close the generator to stop the processes early. Raises :class:`IngestError` when they cannot be started.
    """
    import multiprocessing
    from concurrent.futures import CancelledError
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired, ProcessPool

    context: Any = multiprocessing.get_context("spawn")
    futures: deque[Any] = deque()
    handed_out = 0
    with ProcessPool(max_workers=min(workers, len(files)), context=context, initializer=_prepare) as pool:
        try:
            for position in range(len(files)):
                for file in files[handed_out : position + _AHEAD * workers]:
                    arguments = (str(file.path), file.source, counter, policy, ocr)
                    with ctrl_c_held_back():
                        futures.append(pool.schedule(parse_file, args=arguments, timeout=parse_seconds(file, ocr)))
                    handed_out += 1
                try:
                    yield futures.popleft().result()
                except TimeoutError:
                    seconds = parse_seconds(files[position], ocr)
                    reason = f"its parser took longer than {seconds:.0f} s and was stopped: split it"
                    yield Unparsed(reason=reason, lasting=True)
                except (ProcessExpired, CancelledError) as error:
                    reason = f"its parser crashed ({error}): open the file and save it again"
                    yield Unparsed(reason=reason, lasting=isinstance(error, ProcessExpired))
                except MemoryError:
                    yield Unparsed(reason=_NO_MEMORY, lasting=True)
        except BrokenProcessPool as error:
            raise IngestError(
                "the parser processes cannot be started: in a script of your own, call ingest below "
                "if __name__ == '__main__', else look for a lack of memory"
            ) from error
        except BaseException:
            pool.stop()
            raise


def parse_seconds(file: SourceFile, ocr: str) -> float:
    """Wall time that a file's parser may take."""
    return OCR_SECONDS if ocr and may_have_scans(file.path) else PARSE_SECONDS


def _prepare() -> None:
    """In a child process: no warnings of parsers, an end to memory, and no life after the parent's."""
    import logging
    import multiprocessing
    import resource
    import sys
    import threading
    import warnings

    # spaCy, which unstructured imports, imports it where it can: 2 s and 180 MB of each process, for nothing.
    cast(dict[str, Any], sys.modules)["torch"] = None
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    soft = PARSE_BYTES if most == resource.RLIM_INFINITY else min(PARSE_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (soft, most))
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)

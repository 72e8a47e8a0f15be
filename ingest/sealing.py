"""A copy of a shard whose segments are sealed: they are not written to any more, and are made to be searched.

The engine does that in one call, of seconds or minutes, beside which no other thread of its process runs. So the call
is made in a process of its own, on the copy: whatever ends it, the shard itself is as it was.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ingest.ctrl_c import ctrl_c_held_back

UNSEALED = "mutable_id_tracker.versions"
"""A file that a segment has as long as it is written to: eight bytes for each point."""
_SEALED = "id_tracker.versions"
"""A file that only a sealed segment has."""
_READ_WHOLE = ("vector_storage-*/quantized.data", "payload_index/*/*", "id_tracker.*")
"""Of each segment, what opening and every search read from beginning to end: some 300 bytes a chunk."""
_BLOCK = 2**20
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""
_POLITE = 5
"""Niceness of the building process: searches come first."""


def is_sealed(shard: Path) -> bool:
    """Whether some of it is."""
    return any(shard.glob(f"segments/*/{_SEALED}"))


def read_ahead(shard: Path) -> None:
    """Have the system hold in its cache what opening and the first search read of sealed segments.

    The engine drops it whenever a shard is closed, and fetches it page by page, beside which no other thread of its
    process runs: that takes ten times as long (docs/decisions/0020-scale.md).
    """
    if not is_sealed(shard):
        return
    block = bytearray(_BLOCK)
    for part in _READ_WHOLE:
        for path in shard.glob(f"segments/*/{part}"):
            with suppress(OSError), path.open("rb", buffering=0) as file:
                while file.readinto(block):
                    pass


def seal(shard: Path, copy: Path) -> None:
    """Copy a shard, which must be flushed and not written to meanwhile, and seal the copy.

    Segments that are sealed already are linked where the file system can: the engine makes new ones in their place and
    does not change them. Raises :class:`OSError` where it cannot be done; nothing is left of the copy then, nor after
    Ctrl-C.
    """
    import multiprocessing

    context: Any = multiprocessing.get_context("spawn")
    told, tells = context.Pipe(duplex=False)
    process = context.Process(target=_optimize, args=(str(copy), os.getpid(), tells), daemon=True)
    try:
        shutil.copytree(shard, copy, copy_function=_copied)
        with ctrl_c_held_back():
            process.start()
        tells.close()
        reason = _reason(told)
        if reason:
            raise OSError(reason)
    except BaseException:
        if process.pid is not None:
            process.kill()
        shutil.rmtree(copy, ignore_errors=True)
        raise
    finally:
        if process.pid is not None:
            process.join()
        told.close()


def _copied(source: str, target: str) -> None:
    segment = next((folder for folder in Path(source).parents if folder.parent.name == "segments"), None)
    if segment is not None and (segment / _SEALED).exists():
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _reason(told: Connection) -> str:
    try:
        return str(told.recv())
    except EOFError:
        return "the process that does it was ended, perhaps for want of memory"


def _optimize(folder: str, parent: int, tells: Connection) -> None:
    """In the child process: tells an empty text, or why it could not be done."""
    import qdrant_edge

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.nice(_POLITE)
    try:
        shard = qdrant_edge.EdgeShard.load(folder)
        points = shard.info().points_count
        shard.optimize()
        shard.flush()
        if shard.info().points_count != points:
            tells.send(f"{points} points became {shard.info().points_count}")
            return
        shard.close()
    except BaseException as error:
        # A panic of the engine is a BaseException of its own.
        tells.send(f"{type(error).__name__}: {error}")
        return
    tells.send("")

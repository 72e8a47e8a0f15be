"""``rag models pull``: the one part of groundchat that uses the network, and only when a user asks for it.

It speaks plain HTTP with the model hub instead of using the hub's own client, because that one throws an unfinished
file away, does not check digests, and looks up more than the file (see docs/models.md).

A file grows as ``NAME.<start of its sha256>.part`` and gets its name only when size, sha256 and GGUF magic are right.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rag.catalogue import KnownModel, amount, models_folder
from rag.errors import ModelError
from rag.keys import key_in
from rag.models import GGUF_MAGIC, find_model

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
Show = Callable[[int, int], None]
"""Called with (bytes that are there, bytes in all) as a download goes on."""
Tell = Callable[[str], None]
"""Called with a line for people."""

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0
_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The verified file; ``downloaded_bytes`` of it were missing when the pull began."""

    file: Path
    size_bytes: int
    sha256: str
    downloaded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remote:
    url: str
    size: int
    sha256: str


def pull(model: KnownModel, *, show: Show, tell: Tell) -> Pulled:
    """Download a known model into the models folder, or go on with a download that was cut off, and verify it.

    A file that is there already, or in an installed package, is only verified. ``HF_ENDPOINT`` names another hub,
    ``HF_TOKEN`` logs in to it; ``HF_HUB_OFFLINE``, which the rest of the program sets, does not apply here.
    Raises :class:`ModelError` for everything that can go wrong, with the remedy.
    """
    if model.package is not None and model.sha256 is not None:
        return _already_there(find_model(model.alias), model.sha256, tell)
    folder = models_folder()
    target = folder / model.filename
    with _disk_errors(folder), _alone(folder):
        if model.sha256 is not None and target.is_file():
            return _already_there(target, model.sha256, tell)
        with _client() as client:
            remote = _look_up(client, model, target)
            if target.is_file():
                return _already_there(target, remote.sha256, tell)
            part = target.with_name(f"{target.name}.{remote.sha256[:12]}.part")
            _make_room(part, remote, model)
            had = _size(part)
            tell(f"{'going on with' if had else 'downloading'} {model.alias}, {amount(remote.size)}, to {target}")
            _download(client, part, remote, show=show, tell=tell, target=target)
        tell("checking the sha256")
        _verify(part, remote.sha256, model)
        part.replace(target)
        return Pulled(file=target, size_bytes=remote.size, sha256=remote.sha256, downloaded_bytes=remote.size - had)


def page(model: KnownModel) -> str:
    """The address from which people can download the file in a browser."""
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    return f"{endpoint}/{model.repository}/resolve/{model.revision}/{quote(model.filename)}"


def _client() -> httpx.Client:
    import httpx

    headers = {"User-Agent": f"groundchat/{version('groundchat')}", "Accept-Encoding": "identity"}
    if token := key_in("HF_TOKEN"):
        # httpx drops this header when a redirect leads to another host.
        headers["Authorization"] = f"Bearer {token}"
    return httpx.Client(headers=headers, timeout=httpx.Timeout(30, connect=10))


def _place(url: httpx.URL) -> tuple[str, bytes]:
    """What must stay the same for the token to be sent on: https, and the host with its port."""
    return url.scheme, url.netloc


def _look_up(client: httpx.Client, model: KnownModel, target: Path) -> _Remote:
    """Size and digest as the hub states them, held against the catalogue's."""
    import httpx

    try:
        url = httpx.URL(page(model))
        for _ in range(_REDIRECTS):
            response = client.head(url)
            follow = response.next_request
            # A moved repository redirects within the hub; the redirect to the storage behind it carries the digest.
            if follow is None or "X-Linked-Etag" in response.headers or _place(follow.url) != _place(url):
                break
            url = follow.url
    except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
        raise _unreachable(page(model), target, error) from error
    _refuse(response, model)
    size = response.headers.get("X-Linked-Size", "")
    digest = response.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    stated = digest if re.fullmatch("[0-9a-f]{64}", digest) else None
    if model.sha256 is not None:
        if stated not in (None, model.sha256) or (size.isdigit() and int(size) != model.size_bytes):
            raise ModelError(
                f"{page(model)} is not the file that this version of groundchat knows (sha256 {stated}, {size} bytes): "
                "nothing was downloaded; download it yourself and pass --model FILE.gguf if you trust it"
            )
        return _Remote(url=str(url), size=model.size_bytes, sha256=model.sha256)
    if stated is None or not size.isdigit():
        raise ModelError(
            f"{url.host} does not state size and sha256 of {model.filename}, so a download could not be verified: "
            "download it yourself and pass --model FILE.gguf"
        )
    return _Remote(url=str(url), size=int(size), sha256=stated)


def _download(client: httpx.Client, part: Path, remote: _Remote, *, show: Show, tell: Tell, target: Path) -> None:
    """Fetch what is missing of ``part``; a lost connection is tried again as long as bytes keep coming."""
    import httpx

    if _size(part) > remote.size:
        part.unlink()
    failures, furthest = 0, _size(part)
    while _size(part) < remote.size:
        error: Exception = EOFError("the answer ended early")
        try:
            _receive(client, part, remote, show)
        except (httpx.RequestError, UnicodeError) as lost:
            error = lost
        now = _size(part)
        if now >= remote.size:
            return
        failures, furthest = (0, now) if now > furthest else (failures + 1, furthest)
        if failures >= _ATTEMPTS:
            raise _unreachable(remote.url, target, error, kept=now) from error
        tell(f"connection lost at {amount(now)} ({_reason(error)}): trying again")
        time.sleep(_PAUSE_SECONDS * failures)


def _receive(client: httpx.Client, part: Path, remote: _Remote, show: Show) -> None:
    """One request for all that is missing, written to ``part`` as it comes."""
    have = _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", remote.url, headers=headers, follow_redirects=True) as response:
        if response.status_code == 416:
            part.unlink()
            return
        _refuse(response, None)
        start, total = _span(response)
        if total not in (None, remote.size) or start not in (0, have):
            raise ModelError(
                f"{response.url.host} sent another file than was asked for ({total} bytes from byte {start}, "
                f"not {remote.size} from {have}): check proxies and HF_ENDPOINT"
            )
        with part.open("ab" if start else "wb") as out:
            done = start
            for piece in response.iter_raw():
                done += len(piece)
                if done > remote.size:
                    raise ModelError(f"{response.url.host} sends more than {remote.size} bytes: check proxies")
                out.write(piece)
                show(done, remote.size)


def _span(response: httpx.Response) -> tuple[int, int | None]:
    """(first byte, bytes of the whole file if stated) of what an answer carries; a server may ignore the range."""
    if response.status_code != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _refuse(response: httpx.Response, model: KnownModel | None) -> None:
    """Raise :class:`ModelError` for an answer that says no."""
    status = response.status_code
    if status < 400:
        return
    host = response.url.host
    what = f"{model.repository}, file {model.filename}" if model else "the file"
    if status in (401, 403) and model:
        raise ModelError(
            f"{host} gives {what}, only to accounts that may read it ({status}): accept its licence on "
            f"{host}/{model.repository} and set HF_TOKEN to a token of your account"
        )
    remedy = {
        401: "set HF_TOKEN to a token of your account",
        403: "the link has expired or is not for you; run the command again",
        404: "it was moved or removed; download it elsewhere and pass --model FILE.gguf",
        410: "it was removed; download it elsewhere and pass --model FILE.gguf",
        429: "too many requests; wait some minutes and run the command again",
    }
    later = "run the command again later; it goes on from what is there"
    raise ModelError(f"{host} answers {status} for {what}: {remedy.get(status, later)}")


def _verify(part: Path, sha256: str, model: KnownModel) -> None:
    digest = _sha256(part)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
        is_gguf = stream.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    if digest == sha256 and is_gguf:
        return
    part.unlink()
    wrong = f"has the sha256 {digest} instead of {sha256}" if digest != sha256 else "is not a GGUF file"
    raise ModelError(
        f"what came for {model.alias} {wrong}: the download was removed; run the command again, and if that happens "
        "twice, check proxies and HF_ENDPOINT"
    )


def _already_there(file: Path, sha256: str, tell: Tell) -> Pulled:
    tell(f"{file} is there: checking its sha256")
    digest = _sha256(file)
    if digest != sha256:
        raise ModelError(
            f"{file} has the sha256 {digest} instead of {sha256}: it is damaged or another file; "
            "move it away and run the command again"
        )
    return Pulled(file=file, size_bytes=_size(file), sha256=digest, downloaded_bytes=0)


def _make_room(part: Path, remote: _Remote, model: KnownModel) -> None:
    missing = remote.size - _size(part)
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise ModelError(
            f"{model.alias} needs {amount(missing)} in {part.parent}, where {amount(free)} are free: "
            "make room, or set RAG_MODELS to a folder on another disk"
        )


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            remedy = "make room and run the command again; it goes on from what is there"
        else:
            remedy = "set RAG_MODELS to a folder that you may write to"
        raise ModelError(f"cannot use {folder} ({error.strerror or error}): {remedy}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One download at a time in a folder, so that two never write one file."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".pull.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ModelError(f"another download is running in {folder}: wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def _unreachable(url: str, target: Path, error: Exception, *, kept: int = 0) -> ModelError:
    resume = f"the {amount(kept)} that came are kept, run the command again; or " if kept else ""
    return ModelError(
        f"the model hub cannot be reached ({_reason(error)}): {resume}download {url} in a browser, "
        f"save it as {target}, and run the command again to verify it"
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0

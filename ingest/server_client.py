"""A Qdrant server: the one door to qdrant_client. Where it is, when to try again, and what to tell the user.

Nothing is sent but to the address that the user named: no proxy of the environment, no redirect, no check of versions.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from ingest.errors import IndexProblem, IndexServerError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models
    from tenacity import RetryCallState

P = ParamSpec("P")
T = TypeVar("T")

KEY_VARIABLE = "RAG_QDRANT_API_KEY"
TRIES = 5
TIMEOUT_S = 60
"""Of one request, in seconds."""
LONGEST_WAIT_S = 60.0
"""That a server may ask for before the next try."""
PARALLEL = 4
"""Requests at a time, of an upload."""
PAGE = 1000
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Server:
    """One server, by a client of it. Safe for use by several threads; close it."""

    def __init__(
        self,
        client: QdrantClient,
        shown: str,
        *,
        parallel: int = PARALLEL,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """``shown``: its URL, for people. ``parallel``: requests at a time of an upload; 1 for a client that must stay
        in the thread of its user. ``sleep`` waits that many seconds between tries.
        """
        self.client = client
        self.shown = shown
        self._closed = threading.Event()
        self._pause = sleep or self._closed.wait
        self._pool = ThreadPoolExecutor(parallel, "qdrant") if parallel > 1 else None
        self._uploads: list[Future[None]] = []
        self._answered = False

    @classmethod
    def at(cls, url: str, *, sleep: Callable[[float], object] | None = None) -> Server:
        """The server at ``http://host:6333``, or ``https://``; nothing is sent yet.

        Raises :class:`ingest.errors.IndexProblem` for what is no such URL, or a key that cannot be one.
        """
        address = checked_url(url)
        key = _key()
        from qdrant_client import QdrantClient

        parts = urlsplit(address)
        options: dict[str, Any] = {"trust_env": False}
        if parts.scheme == "https":
            options["verify"] = _certificates()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice against a key over http, as a Python warning
            client = QdrantClient(
                url=address,
                port=parts.port or (443 if parts.scheme == "https" else 6333),
                api_key=key or None,
                timeout=TIMEOUT_S,
                check_compatibility=False,
                **options,
            )
        return cls(client, address, sleep=sleep)

    def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a method of the client returns, tried up to ``TRIES`` times while that may help.

        A server that has never answered is tried once: a wrong URL is told at once. Every request can be repeated: ids
        are made from content. Raises :class:`ingest.errors.IndexServerError`.
        """
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_when_event_set
        from tenacity import wait_exponential_jitter as backing_off

        backoff = backing_off(multiplier=0.5, max=8, jitter=0.5)
        retrying = Retrying(
            stop=stop_after_attempt(TRIES if self._answered else 1) | stop_when_event_set(self._closed),
            wait=lambda state: max(backoff(state), _asked_wait(state)),
            retry=retry_if_exception(_may_pass),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            found = retrying(call, *args, **kwargs)
        except (ApiException, QdrantException, ValueError, AssertionError) as error:
            # The last two: the client's, of an answer that is not Qdrant's.
            what, remedy = _told(error)
            tried = f", {TRIES} times in a row" if self._answered and _may_pass(error) else ""
            raise IndexServerError(f"{self.shown} {what}{tried}: {remedy}") from error
        self._answered = True
        return found

    def _sleep(self, seconds: float) -> None:
        self._pause(seconds)

    def scroll(
        self,
        collection: str,
        only: models.Filter | None,
        *,
        payload: bool | list[str] = True,
        page: int = PAGE,
        vectors: bool = False,
    ) -> Iterator[models.Record]:
        """Every point that passes, in order of id, read ``page`` at a time."""
        at: Any = None
        while True:
            found, at = self.ask(
                self.client.scroll,
                collection,
                scroll_filter=only,
                limit=page,
                offset=at,
                with_payload=payload,
                with_vectors=vectors,
            )
            yield from found
            if at is None:
                return

    def upload(self, collection: str, make: Callable[[], list[models.PointStruct]]) -> None:
        """Upsert the points that ``make`` gives, while the caller goes on; :meth:`settle` waits for it."""
        if self._pool is None:
            self._put(collection, make)
        else:
            self._uploads.append(self._pool.submit(self._put, collection, make))

    def settle(self) -> None:
        """Wait until every upload is applied, and raise the error of the first that failed."""
        waiting, self._uploads = self._uploads, []
        try:
            for upload in waiting:
                upload.result()
        finally:
            for upload in waiting:
                upload.cancel()

    def _put(self, collection: str, make: Callable[[], list[models.PointStruct]]) -> None:
        self.ask(self.client.upsert, collection, make(), wait=True)

    def close(self) -> None:
        """Close its connections; uploads that have not begun are dropped, and none is tried again."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self.client.close()


def only(**wanted: str | Sequence[str]) -> models.Filter:
    """The points of which the payload has these values; of several of one key, any."""
    from qdrant_client import models

    return models.Filter(
        must=[
            models.FieldCondition(
                key=key,
                match=models.MatchValue(value=value) if isinstance(value, str) else models.MatchAny(any=list(value)),
            )
            for key, value in wanted.items()
        ]
    )


def checked_url(url: str) -> str:
    """The URL without a slash at its end. Raises :class:`IndexProblem`, without showing a secret that may be in it."""
    shown = re.sub(r"//.*@", "//***@", re.split(r"[?#]", url, maxsplit=1)[0])
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises ValueError
        (parts.hostname or "").encode("idna")
    except ValueError as error:  # UnicodeError is one
        raise IndexProblem(f"--index {shown!r} is no URL ({error}): pass http://host:6333") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        raise IndexProblem(f"--index {shown!r} is neither a folder nor a server's URL: pass http://host:6333")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise IndexProblem(f"--index {shown!r}: a URL must hold no key or name: set {KEY_VARIABLE}, pass --collection")
    return url.rstrip("/")


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise IndexProblem(f"{KEY_VARIABLE} holds characters that no key has: set it anew")
    return key


def _certificates() -> ssl.SSLContext:
    """The system's, with those of SSL_CERT_FILE, for a company's own authority; and those that Mozilla trusts."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _may_pass(error: BaseException) -> bool:
    import httpx
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ResourceExhaustedResponse):
        return float(error.retry_after_s) <= LONGEST_WAIT_S
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _PASSING
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError) and "CERTIFICATE" not in str(error.source)
    return False


def _asked_wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return float(getattr(error, "retry_after_s", 0.0))


def _told(error: Exception) -> tuple[str, str]:
    """What happened, to follow the server's URL, and the remedy."""
    import httpx
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ResourceExhaustedResponse):
        return f"asks to wait {error.retry_after_s} s", "come back then"
    if isinstance(error, UnexpectedResponse):
        return _refused(error.status_code or 0, error.content)
    source = error.source if isinstance(error, ResponseHandlingException) else error
    why = _line(str(source))
    if "CERTIFICATE" in why or "SSL" in why:
        return (
            f"cannot be trusted or speaks no TLS ({why})",
            "check the URL's http or https, and set SSL_CERT_FILE to its CA",
        )
    if isinstance(source, httpx.ConnectError | httpx.ConnectTimeout):
        return f"cannot be reached ({why or 'timeout'})", "start the Qdrant server, or check the URL"
    if isinstance(source, httpx.TimeoutException):
        return f"sent nothing for {TIMEOUT_S} s", "look at the server's load, and run the command again"
    if isinstance(source, httpx.TransportError):
        return f"broke the connection ({why})", "look at the server's log, and run the command again"
    return "did not answer as Qdrant does", "is this the URL of a Qdrant server?"


def _refused(status: int, body: bytes) -> tuple[str, str]:
    reason = _line(_reason(body))
    what = f"refused ({status}: {reason})" if reason else f"refused ({status})"
    if 300 <= status < 400:
        return f"redirects ({status})", "pass the URL that it redirects to; redirects are not followed"
    if status in (401, 403):
        return what, f"set {KEY_VARIABLE} to a key that may write there, or to read, one that may read"
    if status == 404:
        return what, "check that this is a Qdrant server's URL, and of version 1.16 or newer"
    if status >= 500 or status in _PASSING:
        return f"failed ({status}: {reason})", "look at the server's log and its disk, and run the command again"
    return what, "check that the server is Qdrant 1.16 or newer, and its settings"


def _reason(body: bytes) -> str:
    """The server's own words."""
    text = body[:65_536].decode("utf-8", "replace")
    try:
        found = json.loads(text)["status"]["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return re.sub(r"<[^>]*>", " ", text)
    return str(found)


def _line(text: str) -> str:
    """One line, printable, at most 200 characters, without the key."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return " ".join((plain.replace(key, "***") if key else plain).split())[:200]

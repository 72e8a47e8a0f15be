"""HTTP to one model server: where it is, how long to wait, when to try again, and what to tell the user."""

from __future__ import annotations

import re
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from rag.errors import ModelError
from rag.keys import key_in
from rag.server_errors import KEY_VARIABLE, ServerError, asked_wait, reason_in, refusal

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

T = TypeVar("T")

TRIES = 4
_ERROR_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait: for the connection, for the first token (the prompt is read before it), for each further one.

    What a server sends only to keep a connection open does not count as a token.
    """

    connect: float = 5.0
    first_token: float = 600.0
    between_tokens: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """``base``: the API's URL with ``/v1``, no slash behind it. ``model``: as the fragment names it, or empty."""

    base: str
    model: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """``http://host:port``, with ``/v1`` or another path, and ``#model`` where a server has several models.

        Raises :class:`ModelError` for anything else, without showing what may be a secret.
        """
        shown = re.sub(r"//.*@", "//***@", url.partition("?")[0])
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018  # raises ValueError
        except ValueError as error:
            raise ModelError(f"{shown!r} is no URL ({error}): pass http://host:port") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError(f"{shown!r} is no server's URL: pass http://host:port, or https://host/v1#model")
        if "@" in parts.netloc or parts.query:
            raise ModelError(f"{shown!r}: a URL must hold no key: leave it out and set {KEY_VARIABLE} instead")
        base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"
        return cls(base=base, model=unquote(parts.fragment))

    @property
    def root(self) -> str:
        """The server's URL without ``/v1``, where servers have what OpenAI's API lacks."""
        return self.base.removesuffix("/v1")


class Connection:
    """The server at an address, and nothing else: no proxy of the environment, no redirect is followed."""

    def __init__(self, address: Address, *, timeouts: Timeouts, sleep: Callable[[float], None] = time.sleep) -> None:
        """Nothing is sent yet. ``sleep`` waits that many seconds between tries."""
        import httpx

        self.address = address
        self.timeouts = timeouts
        self._sleep = sleep
        self._key = key_in(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            url = httpx.URL(address.base)
            (url.host, url.raw_host.decode().encode("idna"))  # what connecting will do; raises UnicodeError
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ModelError(f"{address.base!r} is no URL ({error}): pass http://host:port") from error
        # llama-cpp-python's server closes connections that it has promised to keep, so none is used twice.
        self._client = httpx.Client(headers=headers, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    @contextmanager
    def send(self, method: str, url: str, body: Mapping[str, Any] | None, wait: float) -> Iterator[httpx.Response]:
        """The response of one try, its body still to be read; at most ``wait`` seconds of silence before and in it.

        Whatever goes wrong is a :class:`ServerError`.
        """
        import httpx

        patience = httpx.Timeout(wait, connect=self.timeouts.connect)
        try:
            with self._client.stream(method, url, json=body, timeout=patience) as response:
                if not response.is_success:
                    raise self._refusal_of(response)
                yield response
        except httpx.HTTPError as error:
            raise self._broken(error, wait) from error

    def ask_once(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON that the server answers with, in one try."""
        with self.send(method, url, body, self.timeouts.between_tokens) as response:
            self.read(response, self.timeouts.between_tokens, response.read)
            try:
                return response.json()
            except ValueError as error:
                raise ServerError(f"{url} sent no JSON", "is this a model server's URL?") from error

    def ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON that the server answers with."""
        return self.patiently(lambda: self.ask_once(method, url, body))

    def read(self, response: httpx.Response, seconds: float, step: Callable[[], T]) -> T:
        """What ``step`` reads of a response; :meth:`silence` when that takes longer than so many seconds.

        httpx's own read timeout cannot change while a body is read, and starts anew with every byte that comes.
        """
        import httpx

        with _deadline(response, seconds) as late:
            try:
                found = step()
            except httpx.HTTPError:
                if not late.is_set():
                    raise
        if late.is_set():
            raise self.silence(seconds)
        return found

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` returns, tried up to ``TRIES`` times while a :class:`ServerError` says that it may help."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        backoff = wait_exponential_jitter(multiplier=0.5, max=8, jitter=0.5)
        retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=lambda state: max(backoff(state), _failure(state).wait),
            retry=retry_if_exception(lambda error: isinstance(error, ServerError) and error.again),
            sleep=self._sleep,
            retry_error_callback=_give_up,
        )
        return retrying(attempt)

    def refusal(self, status: int, body: str, wait: float = 0.0) -> ServerError:
        """The error for an HTTP status and what the server says with it; it asks to be left alone for ``wait`` s."""
        return refusal(self.address.base, status, self._harmless(reason_in(body)), wait)

    def close(self) -> None:
        """Close what is kept open to the server."""
        self._client.close()

    def _refusal_of(self, response: httpx.Response) -> ServerError:
        if response.is_redirect:
            where = urlsplit(response.headers.get("location", "")).hostname or "another path"
            return ServerError(
                f"{self.address.base} redirects to {self._harmless(where)[:200]}",
                "pass the URL that it redirects to; redirects are not followed",
                status=response.status_code,
            )
        body = self.read(response, self.timeouts.between_tokens, lambda: _beginning(response))
        wait = asked_wait(response.headers, time.time())
        return self.refusal(response.status_code, body.decode("utf-8", "replace"), wait)

    def _broken(self, error: httpx.HTTPError, wait: float) -> ServerError:
        import httpx

        base, why = self.address.base, self._harmless(str(error))[:200]
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return ServerError(f"{base} cannot be reached ({why})", "start the server, or check the URL", again=True)
        if isinstance(error, httpx.TimeoutException):
            return self.silence(wait)
        return ServerError(f"{base} broke the connection ({why})", "look at the server's log", again=True)

    def silence(self, seconds: float) -> ServerError:
        """The error for a server that sent nothing for too long."""
        return ServerError(
            f"{self.address.base} sent nothing for {seconds:g} s", "look at the server's load, or ask for less (-k)"
        )

    def _harmless(self, text: str) -> str:
        """One line of printable characters without the key."""
        plain = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
        if self._key:
            plain = plain.replace(self._key, "***")
        return " ".join(plain.split())[:4000]


@contextmanager
def _deadline(response: httpx.Response, seconds: float) -> Iterator[threading.Event]:
    """Within it, reading the response ends after ``seconds``; the event is set when it came to that."""
    sock = response.extensions["network_stream"].get_extra_info("socket")
    late = threading.Event()

    def shut() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _beginning(response: httpx.Response) -> bytes:
    """The body of a refusal, as far as it can be of use."""
    body = b""
    for block in response.iter_bytes():
        body += block
        if len(body) > _ERROR_BYTES:
            break
    return body


def _failure(state: RetryCallState) -> ServerError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ServerError)
    return error


def _give_up(state: RetryCallState) -> Any:
    error = _failure(state)
    raise ServerError(
        f"{error.what}, {TRIES} times in a row", error.remedy, status=error.status, reason=error.reason
    ) from error

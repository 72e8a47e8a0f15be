"""One streamed answer of a server: its pieces, how it ended, and what it took."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prompts.encoding import clean
from rag.errors import ModelError
from rag.server_errors import ServerError
from rag.server_http import Connection
from rag.types import Usage

if TYPE_CHECKING:
    import httpx
    import httpx_sse


def open_reply(connection: Connection, url: str, body: Mapping[str, Any]) -> Reply:
    """The answer to a request, its first piece received; until then it is tried again where that may help."""
    return connection.patiently(lambda: Reply(connection, url, body))


class Reply:
    """The answer to one request, tried once; ``finish`` is the server's own word for why it ended, empty before."""

    def __init__(self, connection: Connection, url: str, body: Mapping[str, Any]) -> None:
        """Waits for the first piece. Raises :class:`ServerError`."""
        self.finish = ""
        self.prompt_tokens: int | None = None
        self._made = 0
        self._reused = 0
        self._answer_tokens: int | None = None
        self._connection = connection
        self._pieces = self._read(url, body)
        self._first = next(self._pieces, "")

    def pieces(self) -> Iterator[str]:
        """The answer, piece by piece. Raises :class:`ModelError` when it breaks off: what came is not the answer."""
        try:
            if self._first:
                yield self._first
                yield from self._pieces
        except ServerError as error:
            raise ModelError(f"the answer broke off in the middle ({error.what}): ask again") from error
        if self.finish not in ("stop", "length", "eos", "end_turn"):
            base = self._connection.address.base
            raise ModelError(f"{base} cut the answer off (finish_reason {self.finish[:40]!r}): put it another way")

    def close(self) -> None:
        """Close the connection, by which the server learns that nobody listens any more."""
        self._pieces.close()

    def usage(self, prompt_tokens: int) -> Usage:
        """As the server reports it; what it does not report: ``prompt_tokens`` as counted here, a token a piece."""
        prompt = prompt_tokens if self.prompt_tokens is None else self.prompt_tokens
        return Usage(
            prompt_tokens=prompt,
            reused_tokens=min(self._reused, prompt),
            answer_tokens=self._made if self._answer_tokens is None else self._answer_tokens,
        )

    def _read(self, url: str, body: Mapping[str, Any]) -> Generator[str]:
        from httpx_sse import EventSource

        base = self._connection.address.base
        came = 0
        patience = self._connection.timeouts.first_token
        with self._connection.send("POST", url, body, patience) as response:
            if "text/event-stream" not in response.headers.get("content-type", ""):
                raise ServerError(f"{base} does not stream its answer", "use a server that can stream")
            events = EventSource(response).iter_sse()
            while (event := self._next(events, response)) is not None and event.data.strip() != "[DONE]":
                if event.data.strip():
                    came += 1
                    if piece := self._take(event.data):
                        self._made += 1
                        yield piece
        if not came:
            # llama-cpp-python's server ends a stream that it cannot start without a word; the same request
            # unstreamed names the reason, and raises it here.
            plain = {name: value for name, value in body.items() if name != "stream_options"}
            self._connection.ask_once("POST", url, plain | {"stream": False, "max_tokens": 1})
        if not self.finish:
            raise ServerError(f"{base} ended the stream too early", "look at the server's log", again=True)

    def _next(
        self, events: Iterator[httpx_sse.ServerSentEvent], response: httpx.Response
    ) -> httpx_sse.ServerSentEvent | None:
        import httpx

        timeouts = self._connection.timeouts
        seconds = timeouts.between_tokens if self._made else timeouts.first_token
        try:
            return self._connection.read(response, seconds, lambda: next(events, None))
        except (httpx.HTTPError, ServerError):
            if not self.finish:
                raise
            return None

    def _take(self, data: str) -> str:
        """Note what an event says, and return the text in it."""
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                raise self._told(error)
            self._count(chunk)
            choices = chunk.get("choices") or []
            if not choices:
                return ""
            text = choices[0].get("text") or (choices[0].get("delta") or {}).get("content") or ""
            self.finish = str(choices[0].get("finish_reason") or self.finish)
            return clean(text)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise ServerError(
                f"{self._connection.address.base} sent an event that cannot be read", "look at the server's log"
            ) from error

    def _told(self, error: Any) -> ServerError:
        """The error that a server reports inside of a stream."""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return self._connection.refusal(status, json.dumps({"error": error}))

    def _count(self, chunk: Mapping[str, Any]) -> None:
        usage = chunk.get("usage") or {}
        timings = chunk.get("timings") or {}
        if (prompt := _tokens(usage.get("prompt_tokens"))) is not None:
            self.prompt_tokens = prompt
        if (answer := _tokens(usage.get("completion_tokens"))) is not None:
            self._answer_tokens = answer
        details = usage.get("prompt_tokens_details") or {}
        for reused in (details.get("cached_tokens"), timings.get("cache_n"), chunk.get("tokens_cached")):
            if (count := _tokens(reused)) is not None:
                self._reused = count
                break


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

"""What a server says of itself: its model, its context, and a tokeniser where it has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from prompts.encoding import clean
from rag.errors import ModelError
from rag.server_errors import ServerError
from rag.server_http import Connection

Kind = Literal["llama-server", "vllm", "llama-cpp-python", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """``model``: as requests name it. ``window``: tokens of context, None when the server does not say.

    ``token_ids``: ids of a text as the server reads it in a prompt, control tokens parsed and BOS added where the
    model wants one; None when the server has no tokeniser to ask.
    """

    model: str
    kind: Kind
    window: int | None
    token_ids: Callable[[str], tuple[int, ...]] | None


def learn_facts(connection: Connection) -> ServerFacts:
    """Ask the server. Raises :class:`ModelError` when it is not there, or which model is meant is not clear."""
    entry = _choose(connection)
    model = str(entry.get("id", connection.address.model))
    if (window := _size(entry.get("max_model_len"))) is not None:
        return _facts(connection, model, "vllm", window)
    if (slot := _json(connection, "GET", "/props").get("default_generation_settings")) is not None:
        window = _size(slot.get("n_ctx")) if isinstance(slot, dict) else None
        return _facts(connection, model, "llama-server", window)
    probe = _json(connection, "POST", "/extras/tokenize", {"model": model, "input": "one"})
    return _facts(connection, model, "llama-cpp-python" if "tokens" in probe else "other", None)


def _facts(connection: Connection, model: str, kind: Kind, window: int | None) -> ServerFacts:
    return ServerFacts(model=model, kind=kind, window=window, token_ids=_tokeniser(connection, model, kind))


def _choose(connection: Connection) -> Mapping[str, Any]:
    """The server's entry for the model that is meant."""
    base, wanted = connection.address.base, connection.address.model
    try:
        listed = connection.ask("GET", f"{base}/models")
    except ServerError as error:
        if error.status not in (404, 405, 501):
            raise
        if not wanted:
            raise ModelError(f"{base} does not list its models: name one, as {base}#MODEL") from error
        return {"id": wanted}
    data = listed.get("data") if isinstance(listed, dict) else None
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    named = [entry for entry in entries if entry.get("id") in (wanted, f"{wanted}:latest")] if wanted else entries
    if len(named) == 1:
        return named[0]
    names = ", ".join(ascii(str(entry.get("id")))[1:-1][:80] for entry in entries[:20]) or "none"
    if wanted:
        raise ModelError(f"{base} has no model {wanted!r}: it has {names}")
    raise ModelError(f"{base} has {len(entries)} models ({names}): name one, as {base}#MODEL")


def _tokeniser(connection: Connection, model: str, kind: Kind) -> Callable[[str], tuple[int, ...]] | None:
    if kind == "other":
        return None
    path = "/extras/tokenize" if kind == "llama-cpp-python" else "/tokenize"

    @lru_cache(maxsize=512)
    def token_ids(text: str) -> tuple[int, ...]:
        text = clean(text)
        body: dict[str, Any]
        if kind == "llama-cpp-python":
            body = {"model": model, "input": text}
        elif kind == "llama-server":
            body = {"content": text, "add_special": True, "parse_special": True}
        else:
            body = {"model": model, "prompt": text, "add_special_tokens": True}
        url = f"{connection.address.root}{path}"
        answer = connection.ask("POST", url, body)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not (isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)):
            raise ModelError(f"{url} sent no list of token ids: look at the server's log")
        return tuple(tokens)

    try:
        token_ids("one")
    except ModelError:  # it is another kind of server after all, or shows no more than OpenAI's API to the outside
        return None
    return token_ids


def _json(connection: Connection, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """What the server has at a path that only some servers know; empty when it does not know it."""
    try:
        found = connection.ask_once(method, f"{connection.address.root}{path}", body)
    except ServerError:
        return {}
    return found if isinstance(found, dict) else {}


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

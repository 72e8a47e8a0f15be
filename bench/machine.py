"""The first lines of every benchmark: where it ran, with what, and how to run it again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("llama-cpp-python", "qdrant-edge-py", "sentence-transformers", "torch", "unstructured")


def print_head(**facts: object) -> None:
    """Print processor, cores, package versions, the command, and any further facts."""
    print(f"machine: {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("packages:", ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print("command: python", shlex.join([Path(sys.argv[0]).as_posix(), *sys.argv[1:]]))
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    wide = next((flag for flag in ("avx512f", "avx2") if flag in fields.get("flags", "").split()), "no AVX2")
    return f"{fields.get('model name', platform.machine())} ({wide})"

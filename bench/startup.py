"""How long a user waits before anything happens: whole processes, median of the runs.

python bench/startup.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from machine import print_head

COMMANDS = {
    "python -c pass": "pass",
    "rag --help": "import sys; sys.argv = ['rag', '--help']; from rag.cli.main import main; main()",
    "import rag": "import rag",
    "import sentence_transformers": "import sentence_transformers",
    "import llama_cpp": "import llama_cpp",
}


def seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print_head(runs=runs)
    for name, code in COMMANDS.items():
        seconds(code)
        found = sorted(seconds(code) for _ in range(runs))
        print(f"{name:30s} median {statistics.median(found):6.3f} s   min {found[0]:.3f}   max {found[-1]:.3f}")


if __name__ == "__main__":
    main()

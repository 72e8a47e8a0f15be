"""No byte leaves the machine: import, ingest and ask with every way out closed and watched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import CORPUS

GUARD = """
import os, sys

def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
        if isinstance(address, tuple) and host not in ("127.0.0.1", "::1", "localhost"):
            report(event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if arguments[0] not in (None, "", "127.0.0.1", "::1", "localhost", b"localhost"):
            report(event, arguments[0])

def report(event, what):
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{event} {what}\\n")
    raise OSError("the network is closed in this test")

sys.addaudithook(guard)
"""

SCRIPT = """
import sys
from pathlib import Path
from rag import RagChat, Settings
from ingest.embed import open_embedder
from ingest.index import open_index
from ingest.pipeline import ingest

if __name__ == "__main__":
    corpus, folder = sys.argv[1:]
    embedder = open_embedder()
    with open_index(folder, embedder, create=True) as index:
        report = ingest([Path(corpus)], index, embedder)
    assert not report.failed, report.failed
    chat = RagChat.from_settings(Settings(index=folder, max_answer_tokens=16))
    print(chat.ask("How many months between annual inspections?").text)
"""


def test_import_ingest_and_ask_open_no_connection(tmp_path: Path) -> None:
    """Python's sockets are watched in every process; where Linux lets us, the whole run has no network at all."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    log = tmp_path / "log"
    corpus = tmp_path / "corpus"
    for name in ("product/error-codes.html", "handbook/safety-manual.pdf", "product/polar-supplement.docx"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CORPUS / name, corpus / name)
    shutil.copy(CORPUS / "product/faq.txt", corpus)
    shutil.copy(CORPUS / "handbook/handbook-2024.md", corpus)
    shutil.copy(CORPUS / "product/calibration-tolerances.pdf", corpus)
    hidden = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DO_NOT_TRACK", "SCARF_NO_ANALYTICS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"PYTHONPATH": str(tmp_path), "GUARD_LOG": str(log)}
    command = [*_without_network(), sys.executable, str(script), str(corpus), str(tmp_path / "index")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
    assert not log.exists(), log.read_text()


def test_the_guard_itself_works(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    log = tmp_path / "log"
    attempt = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "GUARD_LOG": str(log)}
    done = subprocess.run([sys.executable, "-c", attempt], capture_output=True, env=environment, timeout=60)
    assert done.returncode != 0
    assert "192.0.2.1" in log.read_text()


def _without_network() -> list[str]:
    """A prefix that runs a command in an empty network namespace, or nothing where that is not allowed."""
    unshare = shutil.which("unshare")
    for flags in (["--net"], ["--user", "--net"]):
        if unshare and subprocess.run([unshare, *flags, "true"], capture_output=True).returncode == 0:
            return [unshare, *flags]
    return []

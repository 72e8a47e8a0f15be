"""Programs that turn what nothing here reads into what something does: pandoc and LibreOffice.

unstructured would start them too, but without an end to their time, and LibreOffice free to fetch what a document links
to. Here they have an empty folder as home, limits of time and output, and no network.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from ingest.errors import MissingPartError, ParseError

CONVERT_SECONDS = 120
"""Of wall time, and of the processor."""
_MAX_OUTPUT_BYTES = 512 * 2**20
PANDOC = "pandoc: pip install pypandoc-binary, or from pandoc.org"
LIBREOFFICE = "LibreOffice (its program soffice, on the PATH)"
_FILTERS = {"doc": "MS Word 97", "ppt": "MS PowerPoint 97"}
_NO_NETWORK = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetProxyType"><value>2</value></prop>
<prop oor:name="ooInetHTTPProxyName"><value>127.0.0.1</value></prop>
<prop oor:name="ooInetHTTPProxyPort"><value>9</value></prop>
<prop oor:name="ooInetHTTPSProxyName"><value>127.0.0.1</value></prop>
<prop oor:name="ooInetHTTPSProxyPort"><value>9</value></prop>
<prop oor:name="ooInetFTPProxyName"><value>127.0.0.1</value></prop>
<prop oor:name="ooInetFTPProxyPort"><value>9</value></prop>
<prop oor:name="ooInetNoProxy"><value></value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting">
<prop oor:name="BlockUntrustedRefererLinks"><value>true</value></prop>
<prop oor:name="DisableMacrosExecution"><value>true</value></prop>
<prop oor:name="MacroSecurityLevel"><value>3</value></prop></item>
</oor:items>
"""
"""LibreOffice's settings: a proxy that is not there for all that it may want to fetch, and no macros."""


def pandoc_html(data: bytes, kind: str) -> str:
    """A document in one of pandoc's formats as HTML. Raises :class:`ParseError`, MissingPartError without pandoc."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, f"document.{kind}"), Path(folder, "document.html")
        source.write_bytes(data)
        command = [_pandoc(), "--sandbox", "--wrap=none", "--mathml", "-f", kind, "-t", "html"]
        run_program("pandoc", [*command, "-o", str(target), str(source)], folder, CONVERT_SECONDS)
        return target.read_text(encoding="utf-8", errors="replace")


def office_bytes(data: bytes, kind: str, target: str) -> bytes:
    """An office document as LibreOffice saves it in the format ``target``. Raises :class:`ParseError`,
    MissingPartError without LibreOffice."""
    program = shutil.which("soffice") or shutil.which("libreoffice")
    if program is None:
        raise MissingPartError(f"needs {LIBREOFFICE}: install it, or save the file as .{target}")
    with TemporaryDirectory() as folder:
        settings = Path(folder, "profile", "user")
        settings.mkdir(parents=True)
        (settings / "registrymodifications.xcu").write_text(_NO_NETWORK, encoding="utf-8")
        source, found = Path(folder, f"document.{kind}"), Path(folder, "made", f"document.{target}")
        source.write_bytes(data)
        # Without the name of the filter it would take anything that is damaged for a text.
        command = [
            program,
            f"--infilter={_FILTERS[kind]}",
            f"-env:UserInstallation={(Path(folder) / 'profile').as_uri()}",
            "--headless",
            "--norestore",
            "--convert-to",
            target,
            "--outdir",
            str(found.parent),
            str(source),
        ]
        run_program("LibreOffice", command, folder, CONVERT_SECONDS)
        if not found.is_file():
            raise ParseError(f"LibreOffice cannot read it (encrypted, or damaged): save it as .{target}")
        return found.read_bytes()


def _pandoc() -> str:
    """The pandoc of the Python package, whose version is known, before that of the system."""
    spec = find_spec("pypandoc")
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).parent / "files" / "pandoc"
        if packaged.is_file():
            return str(packaged)
    program = shutil.which("pandoc")
    if program is None:
        raise MissingPartError(f"needs {PANDOC}")
    return program


def run_program(
    name: str,
    command: Sequence[str],
    folder: str,
    seconds: int,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run a program with ``folder`` as its home, for at most so many seconds of wall time and of the processor, with
    these ``variables`` in its environment besides the usual ones.

    Raises :class:`ParseError` when it fails or takes too long.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder}
    with Path(folder, "said").open("wb+") as said:
        process = subprocess.Popen(
            command, cwd=folder, env={**environment, **variables}, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True, preexec_fn=partial(_limit, seconds),
        )  # fmt: skip
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ParseError(f"{name} took longer than {seconds} s for it and was stopped: split it") from None
        finally:
            if process.poll() is None:
                # With the programs that it has started: soffice is only a script.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            said.seek(0)
            reason = " ".join(said.read(2000).decode("utf-8", "replace").split())[:200]
            raise ParseError(f"{name} cannot read it ({reason or f'exit code {code}'}): open it and save it again")


def _limit(seconds: int) -> None:
    """In the program's process: it ends by itself even if this one is killed before."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_OUTPUT_BYTES, _MAX_OUTPUT_BYTES))

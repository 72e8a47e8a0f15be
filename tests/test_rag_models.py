"""Models by name: the list, and pulling from a hub that is a server on this machine.

Run as a program, this file renews the table of docs/models.md.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from prompts.formats import FORMAT_NAMES
from rag import hub
from rag.catalogue import KnownModel, amount, catalogue, known_model, models_folder
from rag.errors import ModelError
from rag.models import find_model, found_models, machine_memory, other_files

DOCS = Path(__file__).resolve().parent.parent / "docs" / "models.md"
CONTENT = b"GGUF" + hashlib.shake_128(b"tiny").digest(300_000)
TINY = KnownModel(
    alias="tiny",
    about="for tests",
    filename="tiny.Q4_K_M.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    repository="owner/tiny-GGUF",
    revision="abc123",
    licence="none",
    prompt_format="chatml",
    context_window=4096,
    layers=1,
    kv_heads=1,
    head_dim=64,
)
UNPINNED = replace(TINY, sha256=None, size_bytes=310_000)


def docs_table() -> str:
    """The table of docs/models.md, from the catalogue."""
    rows = [
        "| name | file | memory | context | prompt | licence | repository or package, and sha256 |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in catalogue():
        place = f"{model.repository}, {model.filename}" if model.repository else f"package {model.package}"
        digest = f"`{model.sha256}`" if model.sha256 else "from the hub at download"
        rows.append(
            f"| `{model.alias}` | {amount(model.size_bytes)} | {amount(model.memory())} | {model.context_window} "
            f"| {model.prompt_format} | {model.licence} | {place}<br>{digest} |"
        )
    return "\n".join(rows)


@dataclass
class FakeHub:
    """What the hub and the storage behind it do for one file: a HEAD and a GET that redirect, and ranges.

    ``cuts`` are taken one a storage request: so many bytes are sent of those that were announced.
    """

    content: bytes = CONTENT
    linked: dict[str, str] = field(default_factory=dict)
    status: int = 302
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    during: Callable[[], None] = lambda: None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[tuple[str, str | None]] = field(default_factory=list)
    endpoint: str = ""
    storage: str = ""

    @property
    def ranges_asked(self) -> list[str | None]:
        """The Range header of each request that the storage got."""
        return [asked for method, path, asked in self.requests if path == "/blob" and method == "GET"]


def serve(behaviour: FakeHub, *, is_storage: bool) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            asked = self.headers.get("Range")
            behaviour.requests.append((self.command, self.path, asked))
            behaviour.tokens.append(("storage" if is_storage else "hub", self.headers.get("Authorization")))
            if is_storage:
                self.blob(asked)
            else:
                self.redirect()

        def redirect(self) -> None:
            self.send_response(behaviour.status)
            if self.path.startswith("/old/"):
                self.send_header("Location", self.path.replace("/old/", "/owner/"))
            elif behaviour.status == 302:
                self.send_header("Location", f"{behaviour.storage}/blob")
                for name, value in behaviour.linked.items():
                    self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def blob(self, asked: str | None) -> None:
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and behaviour.ranges else 0
            rest = behaviour.content[start:]
            self.send_response(206 if start else 200)
            if start:
                total = len(behaviour.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: behaviour.cuts.pop(0)] if behaviour.cuts else rest)
            behaviour.during()

        def log_message(self, *arguments: Any) -> None:
            """No log on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, and an environment that says nothing else about hubs."""
    monkeypatch.setenv("RAG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("rag.hub._PAUSE_SECONDS", 0)
    return tmp_path / "models"


@pytest.fixture
def fake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has TINY."""
    behaviour = FakeHub(linked={"X-Linked-Etag": f'"{TINY.sha256}"', "X-Linked-Size": str(len(CONTENT))})
    servers = [serve(behaviour, is_storage=False), serve(behaviour, is_storage=True)]
    behaviour.endpoint, behaviour.storage = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    monkeypatch.setenv("HF_ENDPOINT", behaviour.endpoint)
    yield behaviour
    for server in servers:
        server.shutdown()
        server.server_close()


def pull(model: KnownModel = TINY) -> tuple[hub.Pulled, list[int], list[str]]:
    """(what was pulled, how far each report said it was, the lines for people)."""
    reports: list[int] = []
    lines: list[str] = []
    pulled = hub.pull(model, show=lambda done, total: reports.append(done), tell=lines.append)
    return pulled, reports, lines


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.part"))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process, with TINY as the only known model; gives the exit code."""
    from rag.cli.main import main

    for module in ("rag.catalogue", "rag.models"):
        monkeypatch.setattr(f"{module}.catalogue", lambda: (TINY,))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["rag", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


def test_a_pull_gives_a_verified_file_and_tells_how_far_it_is(fake: FakeHub, folder: Path) -> None:
    pulled, reports, lines = pull()
    assert pulled == hub.Pulled(
        file=folder / TINY.filename, size_bytes=len(CONTENT), sha256=str(TINY.sha256), downloaded_bytes=len(CONTENT)
    )
    assert pulled.file.read_bytes() == CONTENT
    assert reports == sorted(reports)
    assert reports[-1] == len(CONTENT)
    assert lines[0].startswith("downloading tiny, 0 MB, to ")
    assert parts(folder) == []
    address = "/owner/tiny-GGUF/resolve/abc123/tiny.Q4_K_M.gguf"
    assert fake.requests == [("HEAD", address, None), ("GET", address, None), ("GET", "/blob", None)]


def test_a_cut_connection_is_tried_again_for_the_missing_bytes_only(fake: FakeHub, folder: Path) -> None:
    fake.cuts = [100_000, 50_000]
    pulled, _, lines = pull()
    assert pulled.file.read_bytes() == CONTENT
    assert fake.ranges_asked == [None, "bytes=100000-", "bytes=150000-"]
    assert sum("connection lost" in line for line in lines) == 2


def test_the_next_pull_goes_on_where_the_last_one_gave_up(fake: FakeHub, folder: Path) -> None:
    fake.cuts = [100_000, *[0] * 5]
    with pytest.raises(ModelError, match=r"the model hub cannot be reached .* came are kept, run the command again"):
        pull()
    assert [part.stat().st_size for part in parts(folder)] == [100_000]
    assert not (folder / TINY.filename).exists()
    fake.requests.clear()
    pulled, reports, lines = pull()
    assert pulled.file.read_bytes() == CONTENT
    assert pulled.downloaded_bytes == len(CONTENT) - 100_000
    assert fake.ranges_asked == ["bytes=100000-"]
    assert reports[0] > 100_000
    assert lines[0].startswith("going on with tiny")


def test_a_server_without_ranges_starts_again_and_is_not_appended(fake: FakeHub) -> None:
    fake.cuts, fake.ranges = [100_000], False
    assert pull()[0].file.read_bytes() == CONTENT
    assert fake.ranges_asked == [None, "bytes=100000-"]


def test_a_whole_part_is_verified_without_a_download(fake: FakeHub, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{TINY.filename}.{str(TINY.sha256)[:12]}.part").write_bytes(CONTENT)
    assert pull()[0].downloaded_bytes == 0
    assert fake.ranges_asked == []


def test_what_is_there_is_verified_without_the_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    folder.mkdir()
    file = folder / TINY.filename
    file.write_bytes(CONTENT)
    assert pull()[0].downloaded_bytes == 0
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="damaged or another file; move it away"):
        pull()
    assert file.read_bytes() == CONTENT[:-1]


def test_without_a_known_digest_the_hub_states_it(fake: FakeHub) -> None:
    assert pull(UNPINNED)[0].sha256 == TINY.sha256
    fake.requests.clear()
    assert pull(UNPINNED)[0].downloaded_bytes == 0
    assert [method for method, _, _ in fake.requests] == ["HEAD"]


def test_what_nobody_vouches_for_is_not_downloaded(fake: FakeHub) -> None:
    fake.linked = {"X-Linked-Etag": '"0123"', "X-Linked-Size": "300004"}
    with pytest.raises(ModelError, match="does not state size and sha256"):
        pull(UNPINNED)
    assert fake.ranges_asked == []


def test_another_file_on_the_hub_is_noticed_before_the_download(fake: FakeHub) -> None:
    fake.linked["X-Linked-Etag"] = f'"{"0" * 64}"'
    with pytest.raises(ModelError, match="not the file that this version of groundchat knows"):
        pull()
    assert fake.ranges_asked == []


def test_a_wrong_digest_removes_the_download_and_says_so(fake: FakeHub, folder: Path) -> None:
    fake.content = CONTENT[:-1] + b"!"
    with pytest.raises(ModelError, match=rf"instead of {TINY.sha256}: the download was removed"):
        pull()
    assert [file.name for file in folder.iterdir() if not file.name.startswith(".")] == []


def test_a_file_that_is_no_gguf_is_not_kept(fake: FakeHub, folder: Path) -> None:
    fake.content = b"<html>" + CONTENT[6:]
    digest = hashlib.sha256(fake.content).hexdigest()
    fake.linked["X-Linked-Etag"] = f'"{digest}"'
    with pytest.raises(ModelError, match="is not a GGUF file: the download was removed"):
        pull(UNPINNED)
    assert parts(folder) == []


def test_a_page_in_place_of_the_file_is_refused_at_once(fake: FakeHub, folder: Path) -> None:
    fake.content = b"<html>please log in to this network</html>"
    with pytest.raises(ModelError, match="sent another file than was asked for"):
        pull()
    assert parts(folder) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"only to accounts that may read it \(401\): accept its licence on .*owner/tiny-GGUF and set HF_TOKEN"),
        (403, r"accounts that may read it \(403\)"),
        (404, "answers 404 for owner/tiny-GGUF, file tiny.Q4_K_M.gguf: it was moved or removed"),
        (429, "too many requests; wait"),
        (503, "answers 503 .* run the command again later"),
    ],
)
def test_a_hub_that_says_no_is_one_line_with_the_remedy(fake: FakeHub, status: int, said: str) -> None:
    fake.status = status
    with pytest.raises(ModelError, match=said):
        pull()
    assert len(fake.requests) == 1


def test_a_moved_repository_is_followed(fake: FakeHub) -> None:
    assert pull(replace(TINY, repository="old/tiny-GGUF"))[0].file.read_bytes() == CONTENT
    assert [path.split("/")[1] for _, path, _ in fake.requests] == ["old", "owner", "owner", "blob"]


def test_the_token_goes_to_the_hub_and_not_to_the_storage(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret\n")
    pull()
    assert fake.tokens == [("hub", "Bearer secret"), ("hub", "Bearer secret"), ("storage", None)]


@pytest.mark.parametrize("token", ["sec\nret", "secr\u00e9t"])
def test_a_token_that_is_none_is_not_shown(fake: FakeHub, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match="HF_TOKEN holds characters that no key has: set it anew") as raised:
        pull()
    assert "sec" not in str(raised.value)
    assert fake.requests == []


def test_a_redirect_to_another_scheme_does_not_get_the_token(
    fake: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.scheme, request.headers.get("authorization")))
        return httpx.Response(302, headers={"Location": "http://hub.example/elsewhere"})

    client = hub._client()
    client._transport, client._mounts = httpx.MockTransport(answer), {}
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    hub._look_up(client, TINY, folder / "x")
    assert asked == [("https", "Bearer secret")]


def test_a_full_disk_is_noticed_before_the_download(
    fake: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(CONTENT) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    with pytest.raises(ModelError, match=r"tiny needs 0 MB in .*make room, or set RAG_MODELS"):
        pull()
    assert fake.ranges_asked == []
    (folder / f"{TINY.filename}.{str(TINY.sha256)[:12]}.part").write_bytes(CONTENT[:1])
    assert pull()[0].downloaded_bytes == free


def test_a_disk_that_fills_up_on_the_way_is_one_line(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub, "_receive", full)
    with pytest.raises(ModelError, match=r"No space left on device\): make room and run the command again; it goes on"):
        pull()


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="set RAG_MODELS to a folder that you may write to"):
        pull()


def test_two_pulls_do_not_write_one_file(fake: FakeHub, folder: Path) -> None:
    said: list[str] = []

    def second() -> None:
        fake.during = lambda: None
        try:
            pull()
        except ModelError as error:
            said.append(str(error))

    fake.cuts, fake.during = [100], second
    pull()
    assert len(said) == 1
    assert "another download is running" in said[0]


def test_the_command_prints_one_object(
    fake: FakeHub, folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("models", "pull", "tiny", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "alias": "tiny",
        "file": str(folder / TINY.filename),
        "size_bytes": len(CONTENT),
        "sha256": TINY.sha256,
        "downloaded_bytes": len(CONTENT),
    }
    assert "checking the sha256" in printed.err
    assert cli("models", "pull", "tiny") == 0
    assert "was there, verified" in capsys.readouterr().out


def test_a_hub_out_of_reach_is_one_line_and_exit_2(
    folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert cli("models", "pull", "tiny") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("rag: error: the model hub cannot be reached (")
    assert "download http://127.0.0.1:1/owner/tiny-GGUF/resolve/abc123/tiny.Q4_K_M.gguf in a browser" in line
    assert f"save it as {folder / TINY.filename}" in line


def test_ctrl_c_keeps_what_came_and_exits_with_130(
    fake: FakeHub, folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        while not any(part.stat().st_size for part in parts(folder)):
            time.sleep(0.01)
        fake.during = lambda: None
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        released.wait()

    released = threading.Event()
    fake.cuts, fake.during = [200_000], interrupt
    try:
        assert cli("models", "pull", "tiny") == 130
    finally:
        released.set()
    assert "stopped: 'rag models pull tiny' goes on" in capsys.readouterr().err
    (part,) = parts(folder)
    kept = part.stat().st_size
    assert 0 < kept <= 200_000
    fake.requests.clear()
    assert cli("models", "pull", "tiny") == 0
    assert fake.ranges_asked == [f"bytes={kept}-"]


def test_a_name_that_is_not_known_suggests_one(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("models", "pull", "tinny") == 2
    assert capsys.readouterr().err == "rag: error: no model is called 'tinny': did you mean tiny?\n"


def test_the_packaged_model_is_pulled_by_being_there() -> None:
    pulled, _, _ = pull(known_model("smollm2"))
    assert pulled.file == find_model("")
    assert pulled.downloaded_bytes == 0


def test_the_list_tells_what_is_here_what_is_begun_and_what_else_there_is(
    folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("models", "list") == 0
    assert "not here: rag models pull tiny\n" in capsys.readouterr().out
    folder.mkdir()
    (folder / f"{TINY.filename}.0123456789ab.part").write_bytes(CONTENT[:9])
    (folder / "mine.gguf").write_bytes(CONTENT[:7])
    assert cli("models", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    (row,) = listed["models"]
    assert (row["file"], row["partial_bytes"], row["sha256"]) == (None, 9, TINY.sha256)
    assert (row["size_bytes"], row["memory_bytes"]) == (len(CONTENT), TINY.memory())
    assert row["fits"] is (TINY.memory() <= (machine_memory() or 0))
    assert listed["others"] == [{"file": str(folder / "mine.gguf"), "size_bytes": 7}]
    assert cli("models", "list") == 0
    text = capsys.readouterr().out
    assert "rag models pull tiny, which goes on from 0 MB\n" in text
    assert f"--model {folder / 'mine.gguf'}\n" in text
    (folder / TINY.filename).write_bytes(CONTENT)
    assert [found.file for found in found_models()] == [folder / TINY.filename]
    assert other_files() == (folder / "mine.gguf",)


def test_a_model_that_does_not_fit_is_marked(
    folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.models.machine_memory", lambda: TINY.memory() - 1)
    assert cli("models", "list") == 0
    assert "(MORE THAN THIS MACHINE HAS)" in capsys.readouterr().out
    monkeypatch.setattr("rag.models.machine_memory", lambda: TINY.memory())
    assert cli("models", "list") == 0
    assert "(fits)" in capsys.readouterr().out


def test_neither_the_list_nor_a_missing_model_opens_a_socket(tmp_path: Path) -> None:
    script = """
import sys
sys.addaudithook(lambda event, arguments: event.startswith("socket.") and sys.exit(f"{event} was called"))
from rag.cli.main import main
sys.argv = ["rag", *sys.argv[1:]]
main()
"""
    environment = {"RAG_MODELS": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    for arguments, code in ((["models", "list"], 0), (["ask", "Why?", "--model", "llama-2-7b-chat"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=DOCS.parent.parent,
            timeout=600,
        )
        assert done.returncode == code, done.stderr
    assert "'llama-2-7b-chat' is not on this machine: rag models pull llama-2-7b-chat (4.1 GB, needs" in done.stderr


def test_an_alias_is_a_file_once_it_is_there(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"rag models pull qwen2.5-1.5b \(1.1 GB, needs about 2 GB of memory\)"):
        find_model("qwen2.5-1.5b")
    folder.mkdir()
    file = folder / known_model("qwen2.5-1.5b").filename
    file.write_bytes(CONTENT)
    assert find_model("qwen2.5-1.5b") == file
    file.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        find_model("qwen2.5-1.5b")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lama-2-7b-chat", "llama-2-7b-chat"), ("llama-2-13b", "llama-2-13b-chat"), ("Qwen3", "qwen3-4b")],
)
def test_a_near_miss_suggests_the_alias(name: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"no model file {name}: did you mean {meant}"):
        find_model(name)


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.gguf", "/etc/passwd/x.gguf", "/dev/null", "a\0b"])
def test_what_is_no_file_is_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=r"no model file .*: pass the path"):
        find_model(name)


def test_a_file_that_cannot_be_looked_at_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"cannot be read \(File name too long\): check the path"):
        find_model("x" * 300)


def test_a_list_of_a_folder_with_odd_things_in_it(
    folder: Path, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder.gguf").mkdir(parents=True)
    (folder / "gone.gguf").symlink_to(folder / "nowhere")
    (folder / "es\x1b[31m.gguf").write_bytes(CONTENT)
    assert cli("models", "list") == 0
    printed = capsys.readouterr().out
    assert printed.count("--model") == 1
    assert "es\N{REPLACEMENT CHARACTER}[31m.gguf" in printed


def test_the_models_folder_follows_the_environment() -> None:
    assert models_folder({"RAG_MODELS": "/a/b"}) == Path("/a/b")
    assert models_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/groundchat/models")
    assert models_folder({"XDG_DATA_HOME": "relative"}) == models_folder({})
    assert models_folder({"RAG_MODELS": "~nobody-of-that-name/a"}) == Path("~nobody-of-that-name/a")
    assert models_folder({}) == Path("~/.local/share/groundchat/models").expanduser()


def test_memory_is_file_cache_and_overhead() -> None:
    seven = known_model("llama-2-7b-chat")
    assert seven.memory(4096) - seven.memory(2048) == 2048 * 524_288
    assert seven.memory(4096) == 4_081_004_224 + 2_147_483_648 + 1_200_000_000
    assert seven.memory(100_000) == seven.memory(4096)


def test_the_catalogue_is_whole() -> None:
    models = catalogue()
    assert len({model.alias for model in models}) == len({model.filename for model in models}) == len(models)
    assert [model.size_bytes for model in models] == sorted(model.size_bytes for model in models)
    for model in models:
        assert (model.package is None) != (model.repository is None)
        assert model.package or re.fullmatch(r"[\w.-]+/[\w.-]+", str(model.repository))
        assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert re.fullmatch("[0-9a-f]{40}|main", model.revision)
        assert model.prompt_format in FORMAT_NAMES
        assert model.filename.endswith(".gguf")


def test_the_packaged_entry_is_what_the_file_says() -> None:
    from llama_cpp import Llama

    model = known_model("smollm2")
    file = find_model("smollm2")
    data = Llama(str(file), vocab_only=True, verbose=False).metadata
    assert (file.name, file.stat().st_size) == (model.filename, model.size_bytes)
    assert (int(data["llama.block_count"]), int(data["llama.attention.head_count_kv"])) == (
        model.layers,
        model.kv_heads,
    )
    heads = int(data["llama.attention.head_count"])
    assert int(data["llama.embedding_length"]) == heads * model.head_dim
    assert int(data["llama.context_length"]) == model.context_window


def documented() -> tuple[str, str, str]:
    return tuple(re.split(r"<!-- /?models -->", DOCS.read_text(encoding="utf-8")))  # type: ignore[return-value]


def test_the_docs_list_what_the_catalogue_holds() -> None:
    assert documented()[1].strip() == docs_table(), "run python tests/test_rag_models.py"


if __name__ == "__main__":
    head, _, tail = documented()
    DOCS.write_text(f"{head}<!-- models -->\n{docs_table()}\n<!-- /models -->{tail}", encoding="utf-8")

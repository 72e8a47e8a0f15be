"""What is broken, locked, mis-named or made to harm: one line with the remedy each, in little time and memory."""

import io
import re
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import archives, converters
from ingest.archives import ZIPPED
from ingest.errors import ParseError
from ingest.parse import parse_bytes
from ingest.types import Document

FILES = Path(__file__).parent / "files" / "formats"
REAL = {file.suffix[1:]: file.read_bytes() for file in sorted(FILES.iterdir())}
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (97 + n, b"&%c;" % (96 + n) * 10) for n in range(1, 20)
)
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">'


def refused(data: bytes, name: str) -> str:
    """The reason: one line, of a length that can be read, with what to do after a colon."""
    with pytest.raises(ParseError) as error:
        parse_bytes(data, name)
    reason = str(error.value)
    assert "\n" not in reason
    assert len(reason) < 400
    assert ": " in reason
    return reason


def rezipped(data: bytes, changes: dict[str, bytes | None]) -> bytes:
    """An archive with members replaced, added or (None) left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in dict.fromkeys([*old.namelist(), *changes]):
            content = changes.get(name, b"") if name in changes else old.read(name)
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


ZIPS = sorted(ZIPPED)
MARKUP = {
    "docx": "word/document.xml",
    "pptx": "ppt/presentation.xml",
    "xlsx": "xl/workbook.xml",
    "epub": "EPUB/content.opf",
    **dict.fromkeys(("odt", "ods", "odp"), "content.xml"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_bomb(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 2**22)
    bomb = rezipped(REAL[kind], {"bomb.bin": bytes(2**23)})
    assert "unpacks to more than 4 MiB" in refused(bomb, f"a.{kind}")


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_bomb_that_declares_another_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 2**22)
    bomb = rezipped(REAL[kind], {"bomb.bin": bytes(2**23)})
    packed = bomb.replace(struct.pack("<I", 2**23), struct.pack("<I", 100))
    assert packed != bomb
    assert "unpacks to more than 4 MiB" in refused(packed, f"a.{kind}")


def test_a_zip_bomb_of_members_that_share_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of the directory points to one member (D. Fifield, A better zip bomb, 2019)."""
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 2**24)
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = kernel.compress(bytes(2**20)) + kernel.flush()
    fields = (20, 0, 8, 0, 0, 0, len(body), 100, 1, 0)
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields) + b"x" + body
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, *fields, 0, 0, 0, 0, 0) + b"x"
    count = 100
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(entry) * count, len(local), 0)
    assert "unpacks to more than 16 MiB" in refused(local + entry * count + end, "a.xlsx")


@pytest.mark.parametrize("kind", ZIPS)
@pytest.mark.parametrize("bomb", [LAUGHS, OUTSIDE], ids=["laughs", "outside"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_in_an_archive(kind: str, bomb: bytes, encoding: str) -> None:
    data = (bomb + b"]><l>&t;</l>").decode().encode(encoding)
    assert "declares XML entities" in refused(rezipped(REAL[kind], {MARKUP[kind]: data}), f"a.{kind}")


@pytest.mark.parametrize("kind", ZIPS)
@pytest.mark.parametrize("name", ["../evil.xml", "a/../../evil.xml", "/etc/evil", "..\\evil", "C:\\evil"])
def test_a_name_that_leads_out_of_an_archive(kind: str, name: str) -> None:
    assert "leads out of it" in refused(rezipped(REAL[kind], {name: b"x"}), f"a.{kind}")


def test_entities_of_an_xml_file_are_not_expanded() -> None:
    assert "entity nesting" in refused(LAUGHS + b"]><l>before &t; after</l>", "a.xml")
    assert parse_bytes(b'<!DOCTYPE l [<!ENTITY a "ha">]><l>&a; ho</l>', "a.xml").text == "&a; ho"
    secret = parse_bytes(OUTSIDE + b"]><l>before &x; after</l>", "a.xml")
    assert secret.text == "before &x; after"
    assert parse_bytes(b'<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x.dtd"><l>text</l>', "a.xml").text == "l: text"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xml", b"<a>" * 100_000 + b"deep" + b"</a>" * 100_000),
        ("a.json", b"[" * 100_000 + b"]" * 100_000),
        ("a.ndjson", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        ("a.html", b"<div>" * 100_000 + b"deep"),
        ("a.eml", b"Subject: x\nContent-Type: text/html\n\n" + b"<div>" * 100_000 + b"deep"),
    ],
)
def test_nested_without_end(name: str, data: bytes) -> None:
    found = outcome(data, name)
    if isinstance(found, str):
        assert re.search(r"nested too deep|cannot be read|no text", found)
    else:
        assert "deep" in found.text or found.text == "x"


def test_groups_of_rtf_nested_without_end() -> None:
    assert parse_bytes(b"{\\rtf1 " + b"{" * 200_000 + b"deep", "a.rtf").text == "deep"


def test_mail_nested_without_end() -> None:
    part = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    data = b"Subject: deep\n" + b"".join(part % (n, n) for n in range(3000))
    found = outcome(data, "a.eml")
    assert "nested too deep" in found if isinstance(found, str) else found.text.startswith("deep")


@pytest.mark.parametrize(
    "data",
    [b"x" * 2_000_000, b"x," * 1_000_000, b'"' + b"x\n" * 500_000, b"x\n" * 300_000],
    ids=["one cell", "a million columns", "an open quote", "one column"],
)
def test_a_table_without_shape(data: bytes) -> None:
    document = parse_bytes(data, "a.csv")
    assert document.text.count("x") >= data.count(b"x")


def test_a_sheet_that_says_it_is_huge() -> None:
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:XFD1048576"/>'
        b'<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>Part</t></is></c></row><row r="1048576">'
        b'<c r="XFD1048576" t="inlineStr"><is><t>far away</t></is></c></row></sheetData></worksheet>'
    )
    document = parse_bytes(rezipped(REAL["xlsx"], {"xl/worksheets/sheet1.xml": sheet}), "a.xlsx")
    assert document.text.startswith("Stations\nPart\nfar away\nFleet")


def test_cells_that_say_they_are_repeated() -> None:
    with zipfile.ZipFile(io.BytesIO(REAL["ods"])) as archive:
        content = archive.read("content.xml")
    row = (
        b'<table:table-row table:number-rows-repeated="1048000">'
        b'<table:table-cell table:number-columns-repeated="99999999"/>'
        b'<table:table-cell office:value-type="string"><text:p>far</text:p></table:table-cell></table:table-row>'
    )
    hostile = content.replace(b"<table:table-row", row + b"<table:table-row", 1)
    document = parse_bytes(rezipped(REAL["ods"], {"content.xml": hostile}), "a.ods")
    assert document.text.count("far") <= 20


OFFICE = ["docx", "pptx", "xlsx", "odt", "epub", "doc", "xls", "msg", "pdf", "rtf"]


@pytest.mark.parametrize("really", OFFICE)
@pytest.mark.parametrize("name", [*OFFICE, "csv", "txt", "json", "xml", "eml", "rst", "py"])
def test_mis_named(really: str, name: str) -> None:
    if really == name:
        return
    reason = refused(REAL[really], f"a.{name}")
    assert "rename it to" in reason or "not a readable" in reason


ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_encrypted_office_files(kind: str) -> None:
    assert refused(ENCRYPTED, f"a.{kind}") == "encrypted with a password: save a copy without one"


def test_encrypted_members() -> None:
    with zipfile.ZipFile(io.BytesIO(REAL["odt"])) as archive:
        manifest = archive.read("META-INF/manifest.xml")
    locked = rezipped(REAL["odt"], {"META-INF/manifest.xml": manifest + b"<manifest:encryption-data/>"})
    assert "password" in refused(locked, "a.odt")
    protected = rezipped(REAL["epub"], {"META-INF/encryption.xml": b'<CipherReference URI="ch1.xhtml"/>'})
    assert "protected" in refused(protected, "a.epub")
    fonts = rezipped(REAL["epub"], {"META-INF/encryption.xml": b'<CipherReference URI="font.otf"/>'})
    assert parse_bytes(fonts, "a.epub").text == parse_bytes(REAL["epub"], "a.epub").text


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.xml", "a.py", "a.rst", "a.ndjson"])
def test_zero_bytes_are_no_text(name: str) -> None:
    for data in (b"some\0text and more of it", b"a,b\0c", b"\0" * 40, b"a\0" * 20 + b"\0\0\0"):
        assert "binary data" in refused(data, name)


def test_zero_characters_that_are_written_out() -> None:
    assert parse_bytes(b'{"a": "x\\u0000y", "b": "\\ud800"}', "a.json").text == "a: x\N{REPLACEMENT CHARACTER}y\nb: ?"


def test_a_program_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "child"
    program = tmp_path / "soffice"
    program.write_text(f"#!/bin/sh\n(sleep 3; touch {marker}) &\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(converters, "CONVERT_SECONDS", 1)
    assert "LibreOffice took longer than 1 s" in refused(REAL["doc"], "a.doc")
    assert not marker.exists()


def test_what_a_program_says_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "soffice"
    program.write_text('#!/bin/sh\nenv >&2\necho "source file\ncould not be loaded" >&2\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SECRET_OF_THE_USER", "xyzzy")
    reason = refused(REAL["doc"], "a.doc")
    assert reason.startswith("LibreOffice cannot read it (")
    assert "xyzzy" not in reason
    program.write_text("#!/bin/sh\nexit 0\n")
    assert "encrypted, or damaged" in refused(REAL["doc"], "a.doc")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_in_any_text_format(data: bytes) -> None:
    for name in ("a.xml", "a.csv", "a.tsv", "a.json", "a.ndjson", "a.eml", "a.py", "a.rtf"):
        check(data, name)
    check(b"{\\rtf1 " + data, "a.rtf")
    check(b"Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\n" + data, "a.eml")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damaged_files_of_every_format(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(set(REAL) - {"doc", "pdf", "docx", "epub", "org", "rst"})))
    broken = bytearray(REAL[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(broken[: data.draw(st.sampled_from([len(broken), len(broken) // 2, len(broken) - 7]))]), f"a.{kind}")


def outcome(data: bytes, name: str) -> Document | str:
    try:
        return parse_bytes(data, name)
    except ParseError as error:
        return str(error)


def check(data: bytes, name: str) -> None:
    found = outcome(data, name)
    if isinstance(found, str):
        assert "\n" not in found
        return
    found.text.encode()
    assert "\0" not in found.text
    assert all(found.text[e.start : e.end] == e.text == e.text.strip() != "" for e in found.elements)

#!/usr/bin/env bash
# Makes the files of formats/ anew: one content, written by the programs that people's files come from.
# Programs and versions of the committed files: README.md. Usage: make_formats.sh [FOLDER]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/formats}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

cat >"$work/lighthouse.md" <<'END'
# Lighthouse handbook

The lamp of the Kestrel lighthouse burns from dusk to dawn. Its keeper is Zoë Ångström.

## Lamp

The lamp is changed every 14 months.[^1]

-   Switch off the mains.
-   Wait for 20 minutes.

### Spare parts

| Part      | Number | Price     |
|-----------|--------|-----------|
| Bulb      | KB-7   | 38 crowns |
| Fog horn  | FH-12  | 640 crowns |

## Logbook

The logbook is kept for seven years.

    lamp --test --seconds 30

[^1]: Every 12 in the north.
END
cat >"$work/stations.csv" <<'END'
Station,Keeper,Height (m),Since
Kestrel,Zoë Ångström,41.5,2019-03-01
"Grey Rock, north",Omar Delvig,38,2021-11-15
END
cat >"$work/fleet.csv" <<'END'
Boat,Berths,Share
Tern,6,0.25
Puffin,12,0.75
END

for kind in rst org odt epub; do
  /usr/bin/pandoc --standalone "$work/lighthouse.md" -o "$out/lighthouse.$kind"
done
/usr/bin/pandoc "$out/lighthouse.rst" -t gfm -o "$out/lighthouse.md"
/usr/bin/pandoc --standalone -t docbook5 "$work/lighthouse.md" -o "$out/lighthouse.xml"
sed 's/^### /## /' "$work/lighthouse.md" | /usr/bin/pandoc --slide-level 2 -o "$out/slides.pptx"

office() { (cd "$work" && soffice "-env:UserInstallation=file://$work/profile" --headless --convert-to "$@" >/dev/null); }
office rtf "$out/lighthouse.odt" && cp "$work/lighthouse.rtf" "$out/"
office docx "$out/lighthouse.odt" && cp "$work/lighthouse.docx" "$out/"
office html "$out/lighthouse.odt" && cp "$work/lighthouse.html" "$out/"
office 'txt:Text (encoded):UTF8' "$out/lighthouse.odt" && cp "$work/lighthouse.txt" "$out/"
office 'doc:MS Word 97' "$out/lighthouse.odt" && cp "$work/lighthouse.doc" "$out/"
office odp "$out/slides.pptx" && cp "$work/slides.odp" "$out/"
# The smallest .ppt has 477 KB, nearly all of them zeros.
office 'ppt:MS PowerPoint 97' "$out/slides.pptx" && gzip -9nc "$work/slides.ppt" >"$out/slides.ppt.gz"

# A page that was printed and scanned: no text layer, two colours, 200 dots an inch.
office pdf "$out/lighthouse.odt" && pdftoppm -r 200 -mono -tiff "$work/lighthouse.pdf" "$work/page"
img2pdf --nodate "$work"/page-*.tif -o "$out/scan.pdf"

# A workbook of two sheets as LibreOffice's flat XML, from which it writes its other formats.
python3 - "$work" <<'END'
import csv, pathlib, sys
folder = pathlib.Path(sys.argv[1])
def cell(text):
    if text.replace(".", "", 1).isdigit():
        style = ' table:style-name="percent"' if text.startswith("0.") else ""
        kind = "percentage" if style else "float"
        return f'<table:table-cell{style} office:value-type="{kind}" office:value="{text}"/>'
    if len(text) == 10 and text[4] == "-":
        return f'<table:table-cell table:style-name="date" office:value-type="date" office:date-value="{text}"/>'
    return f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'
sheets = ""
for name in ("stations", "fleet"):
    rows = csv.reader((folder / f"{name}.csv").open(encoding="utf-8"))
    body = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    if name == "fleet":
        body += (
            '<table:table-row><table:table-cell office:value-type="string"><text:p>All</text:p></table:table-cell>'
            '<table:table-cell table:formula="of:=SUM([.B2:.B3])" office:value-type="float" office:value="18"/>'
            "</table:table-row>"
        )
    sheets += f'<table:table table:name="{name.title()}">{body}</table:table>'
(folder / "book.fods").write_text(
    '<?xml version="1.0" encoding="UTF-8"?><office:document '
    + " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in [("office", "office"), ("table", "table"), ("text", "text"), ("style", "style"),
                            ("number", "datastyle")]
    )
    + ' xmlns:of="urn:oasis:names:tc:opendocument:xmlns:of:1.2" office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.spreadsheet">'
    "<office:automatic-styles><number:date-style style:name=\"D\"><number:year number:style=\"long\"/>"
    "<number:text>-</number:text><number:month number:style=\"long\"/><number:text>-</number:text>"
    '<number:day number:style="long"/></number:date-style><number:percentage-style style:name="P">'
    '<number:number number:decimal-places="0" number:min-integer-digits="1"/><number:text>%</number:text>'
    '</number:percentage-style><style:style style:name="date" style:family="table-cell" style:data-style-name="D"/>'
    '<style:style style:name="percent" style:family="table-cell" style:data-style-name="P"/>'
    f"</office:automatic-styles><office:body><office:spreadsheet>{sheets}</office:spreadsheet></office:body>"
    "</office:document>",
    encoding="utf-8",
)
END
for kind in xlsx 'xls:MS Excel 97' ods; do
  office "$kind" "$work/book.fods" && cp "$work/book.${kind%%:*}" "$out/"
done
# What LibreOffice on Windows writes by default: semicolons, Windows-1252.
office 'csv:Text - txt - csv (StarCalc):59,34,1252' "$work/book.fods" && cp "$work/book.csv" "$out/"
sqlite3 -batch :memory: ".import --csv $work/stations.csv stations" '.mode tabs' '.headers on' \
  'SELECT * FROM stations' >"$out/stations.tsv"
sqlite3 -batch :memory: ".import --csv $work/stations.csv stations" '.mode json' 'SELECT * FROM stations' \
  >"$out/stations.json"
jq -c '.[]' "$out/stations.json" >"$out/stations.ndjson"

# Eight pages with a header and a footer on each, printed by a browser.
python3 - "$work" <<'END'
import pathlib, sys
pages = "".join(
    f'<section style="break-after: page"><h2>Watch {number}</h2><p>In watch {number} the keeper saw {number * 3} ships '
    "pass the northern buoy.</p></section>"
    for number in range(1, 9)
)
rows = "".join(f"<tr><td>{part}</td><td>{price} crowns</td></tr>" for part, price in [("Bulb", 38), ("Fog horn", 640)])
pathlib.Path(sys.argv[1], "watches.html").write_text(
    '<!doctype html><meta charset="utf-8"><title>Watches</title><style>@page { size: A5; margin: 25mm; @top-left '
    '{ content: "Kestrel lighthouse, log of 2024" } @bottom-right { content: "Page " counter(page) } } '
    "td, th { padding: 2mm 9mm; border: 1px solid }</style>"
    f"<h1>Watches</h1>{pages}<table><tr><th>Part</th><th>Price</th></tr>{rows}</table>",
    encoding="utf-8",
)
END
chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chrome" --no-pdf-header-footer \
  --print-to-pdf="$out/watches.pdf" "$work/watches.html" >/dev/null 2>&1

cat >"$work/parts.re" <<'END'
// Numbers of spare parts: KB-7, FH-12.
enum part { END, BULB, FOG_HORN, OTHER };

enum part part_of(const char *text) {
    const char *YYCURSOR = text, *YYMARKER;
    /*!re2c
        re2c:define:YYCTYPE = "unsigned char";
        re2c:yyfill:enable = 0;
        "KB-" [0-9]+  { return BULB; }
        "FH-" [0-9]+  { return FOG_HORN; }
        "\x00"        { return END; }
        *             { return OTHER; }
    */
}
END
re2c --no-debug-info --no-generation-date "$work/parts.re" -o "$out/parts.c"

printf 'part,price\nbulb,38\n' >"$work/prices.csv"
swaks --dump-mail --to zoe@kestrel.example --from omar@greyrock.example --h-Subject 'Fog horn at Grey Rock' \
  --h-Date 'Fri, 15 Mar 2024 08:30:00 +0100' --h-Message-Id '<1@greyrock.example>' --h-From 'Omar Delvig <omar@greyrock.example>' \
  --body 'The fog horn FH-12 fails in frost.

Please send two spare diaphragms by the Tuesday boat.' --attach-type text/csv --attach "@$work/prices.csv" \
  --attach-name prices.csv >"$out/mail.eml"
python "$here/make_msg.py" "$out/mail.msg"

"""Get pages of the PostgreSQL 15 documentation: the 360 that the questions in bench/data are about, or not.

python bench/fetch_postgresql.py OUT_FOLDER

They lie in the Debian package postgresql-doc-15 (PostgreSQL Licence), which apt-get downloads into a temporary folder;
it needs a Debian or Ubuntu that has it, and no rights. bench/data/postgresql_pages.txt names the pages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "postgresql-doc-15"
PAGES = Path(__file__).parent / "data" / "postgresql_pages.txt"
_HTML = Path("usr", "share", "doc", PACKAGE, "html")


def download(folder: Path) -> Path:
    """The package, by apt-get, from the archive that it is set up for."""
    subprocess.run(["apt-get", "download", "--quiet", PACKAGE], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return next(folder.glob(f"{PACKAGE}_*.deb"))


def unpack(package: Path, pages: Sequence[str], target: Path) -> list[str]:
    """Copy pages of the package into a folder. Returns those that the package does not have."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg", "--extract", str(package), folder], check=True)
        target.mkdir(parents=True, exist_ok=True)
        missing = [page for page in pages if not (Path(folder) / _HTML / page).is_file()]
        for page in pages:
            if page not in missing:
                shutil.copyfile(Path(folder) / _HTML / page, target / page)
    return missing


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    pages = PAGES.read_text(encoding="utf-8").split()
    with tempfile.TemporaryDirectory() as folder:
        package = download(Path(folder))
        missing = unpack(package, pages, Path(sys.argv[1]))
        print(f"{sys.argv[1]}: {len(pages) - len(missing)} pages of {package.name}")
    if missing:
        sys.exit(f"the package has no {', '.join(missing)}: the questions to these pages cannot be answered")


if __name__ == "__main__":
    main()

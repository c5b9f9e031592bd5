"""Documents of one allowed folder: `EXAMPLES_DOCUMENTS`, or the samples shipped beside this file."""

import os
from pathlib import Path

import dagster as dg

KINDS = {".txt", ".md", ".pdf"}
MAX_BYTES = 5_000_000
MAX_CHARACTERS = 200_000
MAX_PAGES = 200
MAX_FOUND = 200


def root() -> Path:
    """Return the folder that chat users may have read."""
    return Path(os.environ.get("EXAMPLES_DOCUMENTS") or Path(__file__).parent / "documents").resolve()


def documents_in(folder: str) -> list[Path]:
    """Return the documents in a folder below the root, by name. Fails the run, saying why, for any other folder."""
    base = root()
    place = (base / folder.strip().lstrip("/\\")).resolve()
    # Resolved first: neither `..` nor a link leads out of the root.
    if not place.is_relative_to(base):
        raise dg.Failure(f"{folder!r} lies outside of the documents' folder.", allow_retries=False)
    if not place.is_dir():
        known = ", ".join(sorted(path.name for path in base.iterdir() if path.is_dir())) or "none"
        raise dg.Failure(f"There is no folder {folder!r}. Folders: {known}.", allow_retries=False)
    found = (path for path in place.iterdir() if path.suffix.lower() in KINDS)
    return sorted(path for path in found if path.is_file() and path.resolve().is_relative_to(base))[:MAX_FOUND]


def read_text(path: Path) -> tuple[str, str | None]:
    """Return a document's text, or what is wrong with it."""
    if path.stat().st_size > MAX_BYTES:
        return "", f"it is larger than {MAX_BYTES // 1_000_000} MB"
    if path.suffix.lower() == ".pdf":
        return _read_pdf(path)
    text = path.read_bytes().decode("utf-8-sig", errors="replace")[:MAX_CHARACTERS]
    return text, None if text.strip() else "it is empty"


def _read_pdf(path: Path) -> tuple[str, str | None]:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    text = ""
    try:
        for page in PdfReader(path).pages[:MAX_PAGES]:
            text += page.extract_text() + "\n"
            if len(text) > MAX_CHARACTERS:
                break
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # pypdf meets broken files with whatever its parser trips over.
        return "", f"it can't be read as PDF ({type(error).__name__})"
    return text[:MAX_CHARACTERS], None if text.strip() else "it holds no text (scanned pages?)"

"""The libraries beside the chat page are byte for byte those of their packages, and carry their licences."""

import hashlib
import re

from integrations.gateway.page import WEB


def test_vendored_files_have_the_hashes_that_their_list_names() -> None:
    listed = dict(
        re.findall(r"^\| `([\w.]+)` \|.*`([0-9a-f]{64})`", (WEB / "vendor/README.md").read_text(), re.MULTILINE)
    )
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (WEB / "vendor").glob("*.js")}
    assert found == listed


def test_every_vendored_file_has_its_licence() -> None:
    assert all(path.with_suffix(".LICENSE").is_file() for path in (WEB / "vendor").glob("*.js"))


def test_the_page_has_no_inline_script_or_style_and_no_outside_address() -> None:
    page = (WEB / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)

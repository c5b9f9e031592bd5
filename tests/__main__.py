"""`python -m tests`: what `make test` runs. Checks first, then pytest in stages; the last line adds the stages up.

Arguments go to pytest: `python -m tests -k memory`. Stages are run to their end even when an earlier one failed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHECKS = (
    ("format", (str(BIN / "ruff"), "format", "--check", "--quiet", ".")),
    ("lint", (str(BIN / "ruff"), "check", "--quiet", ".")),
    ("import contracts", (str(BIN / "lint-imports"),)),
    ("types", (str(BIN / "basedpyright"),)),
)
# Two processes where tests are small, or mostly wait for their servers; one where all share the whole platform.
STAGES = (
    ("quick tests", ("-n", "2", "tests/unit", "tests/contract")),
    ("tests with real servers", ("-n", "2", "--dist", "loadfile", "tests/integration")),
    ("browser tests", ("-n", "2", "--dist", "loadfile", "tests/browser")),
    ("whole platform", ("tests/e2e",)),
)
NO_TESTS = 5


@dataclass
class Total:
    """What all stages came to."""

    began: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, report: Path) -> None:
        """Add a stage's JUnit report."""
        if not report.exists():
            return
        for suite in ET.parse(report).getroot().iter("testsuite"):
            found = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
            self.counts["failed"] += found["failures"]
            self.counts["errors"] += found["errors"]
            self.counts["skipped"] += found["skipped"]
            self.counts["passed"] += found["tests"] - found["failures"] - found["errors"] - found["skipped"]

    def line(self) -> str:
        """Return the last line, in pytest's words."""
        seconds = time.monotonic() - self.began
        words = [
            f"{self.counts[name]} {name}" for name in ("failed", "passed", "skipped", "errors") if self.counts[name]
        ]
        took = f"{seconds:.2f}s ({int(seconds) // 60} min {int(seconds) % 60} s)"
        return f" {', '.join(words) or 'no tests ran'} in {took} ".center(80, "=")


def main(arguments: Sequence[str]) -> int:
    """Run everything; return 0 when all is well."""
    total = Total()
    for name, command in () if arguments else CHECKS:
        if not run(name, command):
            total.failed.append(name)
    find_walls()
    find_redis()
    find_browser()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, options) in enumerate(STAGES):
            report = Path(folder) / f"{number}.xml"
            command = (sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options, *arguments)
            if not run(name, command):
                total.failed.append(name)
            total.add(report)
    if total.failed:
        say(f"✗ failed: {', '.join(total.failed)}")
    say(total.line())
    return 1 if total.failed or not total.counts["passed"] else 0


def run(name: str, command: Sequence[str]) -> bool:
    """Run one check or stage, and say how long it took."""
    say(f"· {name}")
    began = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    well = status in (0, NO_TESTS)
    say(f"{'✓' if well else '✗'} {name}: {time.monotonic() - began:.0f} s")
    return well


def find_browser() -> None:
    """Name a Chromium in RUNBELL_CHROMIUM, installed if need be; where there is none the browser tests say so."""
    found = os.environ.get("RUNBELL_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        install("Chromium for the browser tests", "chromium", "fonts-noto-cjk")
        found = shutil.which("chromium")
    if found is None:
        found = playwright_browser()
    if found is None:
        say("✗ No Chromium for the browser tests. Debian, Ubuntu: sudo apt-get install chromium fonts-noto-cjk")
        say("  Elsewhere: install Chromium or Chrome, or set RUNBELL_CHROMIUM to its path.")
        return
    os.environ["RUNBELL_CHROMIUM"] = found


def find_walls() -> None:
    """Install bubblewrap if need be; where there is none the tests of closed-in scripts fail and say so."""
    if shutil.which("bwrap") is None:
        install("bubblewrap for the tests of scripts", "bubblewrap")


def find_redis() -> None:
    """Install redis-server if need be; where there is none the tests of that cache are skipped and say so."""
    if shutil.which("redis-server") is None:
        install("redis-server for the tests of the cache of answers", "redis-server")


def install(what: str, *packages: str) -> None:
    """Install Debian packages, where that is how it is done and we may."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    say(f"· installing {what}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ((apt, "update", "-qq"), (apt, "install", "-y", "-qq", "--no-install-recommends", *packages)):
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment)


def playwright_browser() -> str | None:
    """Let Playwright fetch its own browser; None where that does not work."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if not Path(path).exists():
        say("· fetching Chromium for the browser tests")
        subprocess.run((sys.executable, "-m", "playwright", "install", "chromium"), check=False)
    return path if Path(path).exists() else None


def say(text: str) -> None:
    """Print a line at once: stages write to the same place."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

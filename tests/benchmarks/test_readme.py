"""What the page of the benchmarks says: links lead somewhere, commands are there, and each tells its options."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_links_lead_somewhere():
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in PAGE.splitlines()}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert link[1:] in headings if link.startswith("#") else (FOLDER / link).exists(), link
    assert all((FOLDER / path).exists() for path in re.findall(r"`(results/[^`*]+)`", PAGE))


def test_every_command_is_told():
    assert set(re.findall(r"python -m benchmarks\.(\w+)", PAGE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_options(name):
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0 and ran.stdout.startswith("usage: ") and "--data" in ran.stdout

"""Types: what a user writes passes a type checker, which sees the types of the package as it is installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
INSTALLED = Path(sysconfig.get_paths()["purelib"], "filterloader", "py.typed").exists()


@pytest.mark.slow
def test_a_users_code_passes_mypy(tmp_path):
    """In a folder of its own, where the checkout is not found before what is installed."""
    pytest.importorskip("mypy")
    shutil.copy(FOLDER / "snippet.py", tmp_path)
    environment = {**os.environ, "MYPYPATH": "" if INSTALLED else str(FOLDER.parent)}
    command = [sys.executable, "-m", "mypy", "--warn-unused-ignores", "--follow-imports=silent", "snippet.py"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr

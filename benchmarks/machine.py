"""Machine: what a result was measured on, with how many threads, and how much memory this process holds."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "pyarrow",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "river",
)


def processor() -> dict[str, Any]:
    """Name, family, model and number of cores of the processor, as the system tells them."""
    lines = [line.split(":", 1) for line in _read("/proc/cpuinfo").splitlines() if ":" in line]
    info = {key.strip(): value.strip() for key, value in lines}
    cores = sum(key.strip() == "model name" for key, _ in lines)
    name = info.get("model name") or platform.processor() or platform.machine() or sys.platform
    return {"name": name, "family": info.get("cpu family"), "model": info.get("model"), "cores": cores}


def hardware() -> str:
    """The processor in a few words."""
    found = processor()
    return f"{found['name']}, {found['cores']} cores" if found["cores"] else found["name"]


def described(*names: str, threads: int = 1) -> dict[str, Any]:
    """Processor, cores, threads a process, GPU if there is one, and versions of those libraries that are installed."""
    found = processor()
    cpu = f"{found['name']} (family {found['family']}, model {found['model']})" if found["cores"] else found["name"]
    head = {"cpu": cpu, "cores": os.cpu_count(), "threads used": threads, "python": platform.python_version()}
    if "torch" in names:
        import torch

        if torch.cuda.is_available():
            head["gpu"] = torch.cuda.get_device_name()
    versions = {name: version_of(name) for name in names}
    return head | {name: found for name, found in versions.items() if found}


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """The commit of this code, and whether it has been changed since."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def date() -> str:
    return time.strftime("%Y-%m-%d")


def settle_threads(threads: int) -> None:
    """As many threads for everything that starts some; to be called before anything is imported that does."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = str(threads > 1).lower()


class Memory:
    """Growth of this process's resident memory: from entering to its highest point, in MB; None but on Linux."""

    grown: float | None = None

    def __enter__(self) -> Memory:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the highest point so far is now
            self._before = _status("VmRSS")
        except OSError:
            self._before = None
        return self

    def __exit__(self, *_) -> None:
        if self._before is not None:
            self.grown = round((_status("VmHWM") - self._before) / 1e3, 1)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _status(name: str) -> float:
    """A line of the process's own status, in kB."""
    return float(re.search(rf"{name}:\s+(\d+)", _read("/proc/self/status"))[1])

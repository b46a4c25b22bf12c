"""Machine: what a result was measured on, and how much memory this process holds."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def hardware(*names: str, threads: int = 1) -> dict:
    """Processor, cores, threads a process, the GPU if there is one, and the versions of the libraries ``names`` that are installed."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        info = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
        info = {key.strip(): value.strip() for key, value in info.items()}
        cpu = f"{info.get('model name', cpu)} (family {info.get('cpu family')}, model {info.get('model')})"
    head = {"cpu": cpu, "cores": os.cpu_count(), "threads used": threads, "python": platform.python_version()}
    if "torch" in names:
        import torch

        if torch.cuda.is_available():
            head["gpu"] = torch.cuda.get_device_name()
    return head | {name: found for name in names if (found := _version(name))}


def date() -> str:
    return time.strftime("%Y-%m-%d")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class Memory:
    """Growth of this process's resident memory: from entering to its highest point, in MB; None where Linux is not underneath."""

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


def _status(name: str) -> float:
    """A line of the process's own status, in kB."""
    return float(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])

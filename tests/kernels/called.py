"""Called: a pytest plugin for a run without the JIT, which fails where a kernel was never executed."""

import importlib
import inspect
import pkgutil
import sys

import filterloader.kernels as room

_SEEN = set()


def kernels():
    """Every function of the room by its name, as in ``ragged.take_rows``."""
    found = {}
    for module in pkgutil.iter_modules(room.__path__):
        members = inspect.getmembers(importlib.import_module(f"{room.__name__}.{module.name}"))
        found |= {f"{module.name}.{name}": getattr(one, "py_func", one) for name, one in members if callable(one)}
    return {name: one for name, one in found.items() if getattr(one, "__module__", "").startswith(room.__name__)}


def _note(frame, event, _):
    if event == "call":
        _SEEN.add(frame.f_code)


def pytest_configure():
    sys.setprofile(_note)


def pytest_sessionfinish(session):
    sys.setprofile(None)
    missing = sorted({one.__name__ for one in kernels().values() if one.__code__ not in _SEEN})
    if missing:
        print(f"never executed: {missing}")
        session.exitstatus = 1

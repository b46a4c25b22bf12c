"""Names: what was given for data or a model, a path or a hub name, told apart before anything is fetched."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from filterloader.experiments.cause import cut

READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
DATA = f"give a folder, a {', '.join(READERS)} file or a hub name"
MODEL = "give a folder with config.json, weights and tokenizer files, or a hub name that can be fetched"
_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PATIENCE = 3.0  # seconds for a first sign of life


def kind(file: str | Path) -> str | None:
    """The ending of a data file that says how to read it (a key of ``READERS``), or None."""
    name = Path(file).name.lower()
    plain = name.removesuffix(".gz")
    ending = next((ending for ending in READERS if plain.endswith(ending)), None)
    return None if ending == ".parquet" and plain != name else ending


def listing(names: Iterable[object]) -> str:
    """Names for a message: the first twelve, long ones cut; "nothing" where there are none."""
    told = [cut(str(name), 40) for name in names]
    return ", ".join(told[:12]) + (f" and {len(told) - 12} more" if len(told) > 12 else "") if told else "nothing"


def check_data(name: str) -> None:
    """Raise ValueError where ``name`` is neither there nor can be a hub name, with ``:configuration`` or without."""
    if not Path(name).expanduser().exists() and (kind(name) or not _HUB.fullmatch(name.partition(":")[0])):
        raise ValueError(f"{name} does not exist: {DATA}")


def check_model(name: str) -> None:
    """Raise ValueError where ``name`` is neither there nor can be a hub name."""
    if not Path(name).exists() and not _HUB.fullmatch(name):
        raise ValueError(f"no pretrained classifier at {name!r}: {MODEL} (no such folder)")


def look_for(data: str | None, model: str | None) -> None:
    """Check both names, and where one is the hub's, whether the hub answers within 3 seconds.

    Where it does not, this process goes offline (``HF_HUB_OFFLINE=1``), so that the hub's libraries look in their cache
    at once instead of trying for half a minute. That works only before they are imported. Variables that say offline,
    or not offline, are left as they are. Raises ValueError as the two checks do.
    """
    if data is not None:
        check_data(data)
    if model is not None:
        check_model(model)
    at_hub = [name for name in (data, model) if name is not None and not Path(name).expanduser().exists()]
    if (
        at_hub
        and not any(os.environ.get(variable) for variable in _OFFLINE)
        and not _answers(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    ):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _answers(url: str) -> bool:
    """Whether anybody is there, by a request in a thread of its own: no time limit covers the search for an address."""
    answered = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE).close()
            answered.append(True)
        except (urllib.error.HTTPError, http.client.HTTPException):
            answered.append(True)
        except (OSError, ValueError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLError):  # there, but not trusted by this Python
                answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return bool(answered)

"""Names of data and models: what cannot be fetched is told at once, and a silent hub is not waited for."""

import io
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from filterloader.experiments import names

DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture
def online(monkeypatch):
    """As if no variable spoke of being offline; what look_for sets is undone afterwards."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    return monkeypatch


@pytest.mark.parametrize("name", ["imdb", "stanfordnlp/sst2", "glue:sst2", "a/b.c-d_e", "lhoestq/demo1:en/fr"])
def test_what_could_be_at_the_hub_is_let_through(name):
    names.check_data(name)
    names.check_model(name.partition(":")[0])


@pytest.mark.parametrize(
    "name",
    [
        "./none",
        "../none",
        "/none/at/all",
        "~/none",
        "none.jsonl",
        "sub/none.CSV",
        "none.tsv.gz",
        "a/b/c",
        "a b",
        "none/",
        "",
        "-x",
        "ä",
    ],
)
def test_what_is_no_path_and_no_hub_name_is_told_with_what_is_allowed(name):
    with pytest.raises(
        ValueError, match=r"does not exist: give a folder, a .jsonl, .json, .csv, .tsv, .parquet file or a hub name"
    ) as raised:
        names.check_data(name or " ")
    assert str(raised.value).startswith(name)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "~/none", "a/b/c", "a b", "models/", "glue:sst2"])
def test_what_is_no_folder_and_no_hub_name_is_no_model(name):
    with pytest.raises(
        ValueError,
        match=r"no pretrained classifier at '.*': give a folder with config.json.* or a hub name .*no such folder",
    ):
        names.check_model(name)


def test_what_is_there_is_never_looked_for(tmp_path, online):
    (tmp_path / "imdb").mkdir()
    online.chdir(tmp_path)
    online.setattr(names, "_answers", lambda url: pytest.fail("the hub was asked"))
    names.look_for("imdb", str(tmp_path))
    names.look_for(None, None)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "0"])
def test_variables_that_speak_of_being_offline_are_left_alone(online, variable, value):
    online.setenv(variable, value)
    online.setattr(names, "_answers", lambda url: pytest.fail("the hub was asked"))
    names.look_for("imdb", "bert-base-uncased")
    assert os.environ[variable] == value and len({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} & set(os.environ)) == 1


@pytest.mark.parametrize("data, model", [("imdb", None), (None, "bert-base-uncased")])
def test_nobody_there_means_offline(online, data, model):
    online.setenv("HF_ENDPOINT", DEAD)
    names.look_for(data, model)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_somebody_who_never_answers_is_waited_for_but_not_long(online):
    online.setattr(names, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        names.look_for("imdb", None)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_an_address_that_is_never_found_is_not_waited_for(online):
    """No time limit covers the search for an address, which resolvers may drag out."""
    found = threading.Event()
    online.setattr(names, "_PATIENCE", 0.1)
    online.setattr("urllib.request.urlopen", lambda *_, **__: found.wait(30) and io.BytesIO())
    names.look_for("imdb", None)
    found.set()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("status", [200, 401, 404, 503])
def test_any_answer_means_online(online, status):
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        online.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        names.look_for("imdb", None)
    assert "HF_HUB_OFFLINE" not in os.environ


def test_somebody_who_does_not_speak_http_is_somebody(online):
    def hang_up(listening):
        there, _ = listening.accept()
        there.recv(4096)
        there.sendall(b"220 mail\r\n\r\n")
        there.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=hang_up, args=(listening,), daemon=True).start()
        online.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        names.look_for("imdb", None)
    assert "HF_HUB_OFFLINE" not in os.environ


def test_an_endpoint_that_is_no_address_is_nobody(online):
    online.setenv("HF_ENDPOINT", "hub")
    names.look_for("imdb", None)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_mistyped_name_without_a_network_is_one_line_and_no_wait(tmp_path):
    """In a process of its own: whether the hub's libraries retry is settled when they are imported."""
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    ran = subprocess.run(
        [sys.executable, "-m", "filterloader.experiments.cli", "train", "--data", "reveiws"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**plain, "HF_ENDPOINT": DEAD, "HF_HOME": str(tmp_path)},
    )
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr == (
        "filterloader train: error: reveiws is no path here, nor could the hub give it (offline, and not in its "
        "cache): give a folder, a .jsonl, .json, .csv, .tsv, .parquet file or a hub name\n"
    )

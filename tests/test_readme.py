"""The README: its code runs, its links lead somewhere, its tables are those of registry, results and ledger."""

import configparser
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
import torch

import filterloader
from filterloader import POLICIES
from filterloader.experiments import cli
from filterloader.predictors.features import FEATURES, features_of
from filterloader.stages.stage import Stage
from tests.conftest import sentences
from tests.feedback.test_scalars import PAGE as SCALARS
from tests.stages.given import stages_of
from tests.stages.test_every_stage import CHAINS

ROOT = Path(filterloader.__file__).parents[1]
README, CONTRIBUTING, CHANGELOG = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
)
PAGES = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING, "CHANGELOG.md": CHANGELOG}
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def rows(page, first):
    """The cells of each row of the table whose first column is headed ``first``."""
    table = page.split(f"\n| {first} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in table]


def section(page, heading):
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


class Model(torch.nn.Module):
    """Two classes from the mean of word embeddings."""

    def __init__(self):
        super().__init__()
        self.words, self.classes = torch.nn.Embedding(64, 8), torch.nn.Linear(8, 2)

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.classes(self.words(input_ids).mean(1)))


@pytest.fixture
def given(tokenizer, tmp_path):
    """What the README takes for granted."""
    torch.manual_seed(0)
    model = Model()
    data = datasets.Dataset.from_list([{"sentence": row["text"], "label": row["label"]} for row in sentences(400)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return {"dataset": data, "tokenizer": tokenizer, "model": model, "optimizer": optimizer, "torch": torch,
            "device": "cpu", "path": tmp_path / "state.pt"}  # fmt: skip


def test_the_code_runs(given):
    first, own, report, states = blocks(README)
    exec(first, given)
    loader = given["loader"]
    assert loader.epoch == 2 and loader.progress == 1.0 and given["scheduler"].get_last_lr() == [0.0]
    assert 0.25 < loader.ledger.scalars()["backwarded_share"] < 0.35
    exec(own, given)
    assert sum(batch["input_ids"].shape[1] <= 20 for batch in given["short"]) == 400
    exec(report, given)
    assert given["loss"].requires_grad and loader.ledger.scalars()["reports"] == loader.ledger.scalars()["batches"]
    exec(states, given)


def test_the_states_of_the_readme_go_on_in_mid_pass(given):
    first, *_, states = blocks(README)
    exec(first, given)
    loader, iterator = given["loader"], iter(given["loader"])
    next(iterator)
    exec(states.split("\nloader.load")[0], given)
    expected = [batch["input_ids"].tolist() for batch in iterator]
    exec("\nloader.load" + states.split("\nloader.load")[1], given)
    assert given["batch"]["input_ids"].tolist() == expected[0] and loader.epoch == 2


def test_there_are_two_commands_for_a_fresh_machine_and_the_check_runs_them():
    commands = re.findall(r"^    python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2 and README.count("python3 -m venv") == 2
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'pip install -e ".[test]"' in commands[1] and 'pip install -q ".[test,dev]"' in check
    for what in ("bin/python -m pytest -n 2", "bin/filterloader train"):
        assert what in check and what in commands[0] + commands[1]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = PAGES[name]
    defined = dict(re.findall(r"^\[(\w+)\]: (\S+)$", page, re.MULTILINE))
    used = set(re.findall(r"\]\[(\w+)\]", page))
    assert used == set(defined)
    for link in [*re.findall(r"\]\(([^)]+)\)", page), *defined.values()]:
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_are_there(name):
    for path in re.findall(r"`([\w.]+/[\w/.]*)`", re.sub(r"\n +", "", PAGES[name])):
        made_up = re.search(r"NAME|ROOM|THEME|integrations/|runs/", path)
        folders = (ROOT, ROOT / "filterloader", ROOT / "filterloader" / "policies")
        assert made_up or any((folder / path).exists() for folder in folders), path


@pytest.mark.parametrize("name", PAGES)
def test_lines_can_be_read(name):
    for line in PAGES[name].splitlines():
        most = 170 if line.startswith("|") else 125 if line.startswith(" ") else 105
        assert len(line) <= most, line


def test_the_table_of_policies_is_the_registry():
    calls = [row[0].strip("`") for row in rows(README, "policy")]
    assert sorted(call.partition("(")[0] for call in calls) == sorted(kind.__name__ for kind in POLICIES.values())
    known = {kind.__name__: kind for kind in POLICIES.values()}
    for call, skips, _ in rows(README, "policy"):
        policy = eval(call.strip("`"), known | {"keep": 0.3, "t": 0.5, "n": 3})
        assert ("forward" in skips) == policy.gates_forward, call
        assert ("backward" in skips) == (type(policy).gates_backward is not False), call


def test_the_table_of_stages_is_the_room():
    every = {
        type(stage).__name__ for make in CHAINS.values() for stage in stages_of(make()) if isinstance(stage, Stage)
    }
    told = [row[0].strip("`") for row in rows(README, "stage")]
    assert set(told) == every | {"Read"} and len(told) == len(set(told))
    flow = section(README, "How it flows").split("Each is a file")[0]
    assert [flow.index(f"─► {name}" if name != "KeepLast" else "| KeepLast") for name in told] == sorted(
        flow.index(f"─► {name}" if name != "KeepLast" else "| KeepLast") for name in told
    )


def test_the_table_of_features_is_what_features_takes():
    cells = [cell for row in rows(README, "`features=`") for cell in (row[0], row[2])]
    names = re.findall(r'"([\w+*]+)"', " ".join(cells[::2]))
    assert sorted(names) == sorted(FEATURES)
    for name, kind in [(name, cells[i + 1]) for i in (0, 2, 4, 6) for name in re.findall(r'"([\w+*]+)"', cells[i])]:
        assert type(features_of(name, vocabulary=None)).__name__ == kind.strip("`").partition("(")[0]


def test_the_results_are_those_of_their_pages():
    links = dict(re.findall(r"^\[(\w+)\]: (\S+)$", README, re.MULTILINE))
    table = rows(README, "task, passes")
    assert len(table) >= 6
    for task, everything, policy, control, difference in table:
        told, link = re.match(r"\[(.*)\]\[(\w+)\]$", difference).groups()
        name = re.match(r"[\w\- ]+", task).group().removesuffix(" slots").lower().replace(" ", "_").replace("-", "")
        page = (ROOT / links[link]).read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
        numbers = [told, *re.findall(r"\d+\.\d+", f"{policy} {control}")]
        assert len(numbers) == 4
        assert any(all(number in line for number in numbers) for line in page.splitlines()), task
        assert re.search(rf"^\| train_all 1 \| {everything} ", page, re.MULTILINE), task


def test_the_scalars_that_are_linked_are_those_that_are_held():
    assert f"({SCALARS.relative_to(ROOT)})" in section(README, "Report: losses in, the loss to train on out")


def test_extras_that_are_named_are_there():
    extras = set(SETUP["options.extras_require"])
    for page in (README, CONTRIBUTING):
        named = ",".join(re.findall(r'(?:filterloader|\.)\[([\w,]+)\]"', page))
        assert set(named.split(",")) <= extras
    assert {"report", "experiments", "bench", "test"} <= set(re.findall(r'"filterloader\[(\w+)\]"', README))
    assert "scikit-learn" in SETUP["options.extras_require"]["experiments"]
    assert "seqeval" in SETUP["options.extras_require"]["experiments"]


def test_options_of_the_command_line_are_there():
    lines = section(README, "The command line").split("`train` prints")[0].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.strip()]
    assert [command[:2] for command in commands] == [["filterloader", "train"], ["filterloader", "report"]]
    for command in commands:
        assert cli._parser().parse_args(command[1:]).command == command[1]
    assert cli._parser().parse_args(["train", "--option", "warmup=0.2"]).option == ["warmup=0.2"]


def test_the_rooms_are_those_of_the_tree():
    rooms = {row[0].strip("`").rstrip("/") for row in rows(README, "room of `filterloader/`")}
    there = {path.name for path in (ROOT / "filterloader").iterdir()} - {"__init__.py", "__pycache__", "py.typed"}
    assert rooms == there


def test_one_version_is_told_everywhere():
    version = filterloader.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert SETUP["metadata"]["version"] == "attr: filterloader.__version__"
    assert re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)[0] == version
    assert f'__version__ = "{version}"' in (ROOT / "filterloader" / "__init__.py").read_text(encoding="utf-8")

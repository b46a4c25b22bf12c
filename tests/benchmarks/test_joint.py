"""Joint intents and slots: labels on first subwords, whole sentences counted, dynamic EL2N fed with both heads."""

import json

import numpy as np
import pytest
import torch

from benchmarks import joint
from benchmarks.table import command
from filterloader.policies import POLICIES

CITIES = ["paris", "rome", "oslo", "lima", "cairo"]


def rows(n, seed=0):
    """Intents told by the first word, one slot told by "to"."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        intent, city = rng.choice(["fly", "drive"], p=[0.8, 0.2]), rng.choice(CITIES)
        out.append(
            {"tokens": [str(intent), "to", str(city), "now"], "slots": ["O", "O", "B-city", "O"], "intent": str(intent)}
        )
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "trips").mkdir()
    for split, n in (("train", 130), ("test", 20)):
        (folder / "trips" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(n, n)))
    return folder


def call(data, out, *more):
    return command.main(
        joint.TABLE,
        [
            "--data",
            str(data),
            "--datasets",
            "trips",
            "--out",
            str(out),
            "--seeds",
            "0",
            "--epochs",
            "3",
            "--threads",
            "1",
            "--precision",
            "fp32",
            "--device",
            "cpu",
            *more,
        ],
    )


def test_one_command_leaves_intents_slots_and_sentences(data, tmp_path):
    assert call(data, tmp_path) == 0
    cells = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert ("dynamic_el2n" in {cell["policy"] for cell in cells}) == ("dynamic_el2n" in POLICIES)
    assert cells[0]["policy"] == "train_all" and all(cell["accuracy"] <= cell["intent_accuracy"] for cell in cells)
    assert all(0 <= cell["slot_f1"] <= 1 and cell["seen"] == 3 * cell["train_rows"] for cell in cells)
    assert "| intent % | slot F1 |" in (tmp_path / "README.md").read_text()


@pytest.fixture(scope="module")
def made(data):
    task = joint.load("trips", joint.TABLE.small["atis"], data)
    bench = joint.JointBench(None, torch.device("cpu"), "fp32")
    return task, *bench.make(task, 0), bench


def test_labels_stand_on_the_first_subword_of_each_word(made):
    task, tokenizer, *_ = made
    (row,) = joint.encode(
        tokenizer, [{"tokens": ["flyto", "parisnow"], "slots": ["O", "B-city"], "label": 0}], task.tags
    )
    words = tokenizer(["flyto", "parisnow"], is_split_into_words=True).word_ids()
    assert len(words) > 4  # strange words fall apart
    ref = [joint.IGNORED if word is None or words[i - 1] == word else word for i, word in enumerate(words)]
    assert task.tags == ("O", "B-city") and row["slot_labels"] == ref


def test_token_labels_are_padded_with_what_the_loss_ignores(made):
    task, tokenizer, model, _ = made
    encoded = joint.encode(
        tokenizer, [{"tokens": ["fly"], "slots": ["O"], "label": 0}, {**rows(1)[0], "label": 1}], task.tags
    )
    model.eval()
    both, (_, slots, slot_labels, labels) = joint.losses_of(model, joint.collate(encoded, tokenizer.pad_token_id))
    alone = [joint.losses_of(model, joint.collate([one], tokenizer.pad_token_id))[0].item() for one in encoded]
    assert both.tolist() == pytest.approx(alone, abs=1e-5)
    assert slot_labels[0].tolist()[3:] == [joint.IGNORED] * (slot_labels.shape[1] - 3) and labels.tolist() == [0, 1]
    assert slots.shape == (*slot_labels.shape, len(task.tags))


def test_a_sentence_counts_only_with_its_intent_and_every_slot(made):
    task = made[0]
    three = [{**row, "label": task.classes.index(row["intent"])} for row in rows(3)]
    labels = np.array([row["label"] for row in three])
    slots = [row["slots"] for row in three]
    found = joint.scored(three, np.array([1 - labels[0], *labels[1:]]), [slots[0], slots[1], ["O"] * 4])
    assert found["intent"].tolist() == [False, True, True] and found["whole"].tolist() == [False, True, False]
    assert found["slot_f1"] == pytest.approx(2 * 2 / 5)


def test_words_that_were_cut_off_are_outside(made):
    task, tokenizer, model, bench = made
    long = {"tokens": ["fly"] * 100, "slots": ["O"] * 100, "label": 0}
    _, slots = joint.predict(model, tokenizer, [long], task.tags, bench.recipe(task))
    assert len(slots[0]) == 100 and slots[0][-10:] == ["O"] * 10


def test_missing_data_is_told_in_one_line(data, tmp_path, capsys):
    assert call(data, tmp_path, "--datasets", "nowhere") == 2
    assert "has no nowhere" in capsys.readouterr().err

"""The progress bar: examples of the stream, and what the filter makes of them."""

import io
import re

import pytest

from filterloader import FilteringDataLoader, Random, ThreeStage, TrainAll, progress_bar
from tests.conftest import Stream, build, losses_of, sentences


def drawn(loader, stop=None, **settings):
    """Every picture of the bar over one pass, and the number of batches."""
    file, batches = io.StringIO(), 0
    settings = {"file": file, "mininterval": 0, "ascii": True, "ncols": 160, "unit_scale": False, **settings}
    for batch in progress_bar(loader, **settings):
        loader.hook.report(losses_of(batch))
        batches += 1
        if batches == stop:
            break
    return [line for line in file.getvalue().replace("\n", "\r").split("\r") if line.strip()], batches


def counts(pictures):
    return [tuple(map(int, re.search(r"(\d+)/(\d+) ", line).groups())) for line in pictures]


@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(0.3), lambda: ThreeStage(warmup=100, alt=10.0)])
def test_it_counts_the_examples_of_the_stream_filtered_ones_included(tokenizer, policy):
    loader = build(tokenizer, policy())
    pictures, batches = drawn(loader)
    places = [place for place, _ in counts(pictures)]
    assert {total for _, total in counts(pictures)} == {640}
    assert places[0] == 0 and places == sorted(places) and places[-1] == 640
    assert batches == loader.ledger.scalars()["batches"]


def test_it_says_what_the_ledger_says(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=100, alt=10.0))
    pictures, _ = drawn(loader)
    assert "kept 100 %" in pictures[3] and "stage warm-up" in pictures[3]
    assert re.search(r"kept \d+ % · trained \d+ % · stage filter", pictures[-1])


def test_it_yields_the_loaders_own_batches(tokenizer):
    ref = [batch["input_ids"].tolist() for batch in build(tokenizer)]
    loader = build(tokenizer)
    comp = [batch["input_ids"].tolist() for batch in progress_bar(loader, disable=True)]
    assert comp == ref and len(progress_bar(loader)) == len(loader) == 40


def test_each_pass_has_a_bar_of_its_own(tokenizer):
    loader = build(tokenizer, Random(0.5))
    for _ in range(3):
        places = [place for place, _ in counts(drawn(loader)[0])]
        assert places[0] == 0 and places[-1] == 640


def test_a_pass_after_one_broken_off_begins_at_0(tokenizer):
    loader = build(tokenizer, Random(0.5))
    drawn(loader, stop=3)
    places = [place for place, _ in counts(drawn(loader)[0])]
    assert places[0] == 0 and places[-1] == 640


def test_a_resumed_pass_begins_where_it_was_saved(tokenizer):
    first, second = build(tokenizer, Random(0.5)), build(tokenizer, Random(0.5))
    drawn(first, stop=12)
    second.load_state_dict(first.state_dict())
    places = [place for place, _ in counts(drawn(second)[0])]
    assert places[0] == first.consumed > 0 and places[-1] == 640


def test_a_stream_of_unknown_length_has_no_total_in_its_first_pass(tokenizer):
    loader = FilteringDataLoader(Stream(sentences(160)), tokenizer=tokenizer, batch_size=16, policy=TrainAll())
    assert re.match(r"160ex ", drawn(loader)[0][-1])
    assert counts(drawn(loader)[0])[-1] == (160, 160)


def test_settings_are_tqdms(tokenizer):
    pictures, _ = drawn(build(tokenizer, n=64), desc="epoch 1", unit=" rows")
    assert pictures[-1].startswith("epoch 1: 100%") and "rows/s" in pictures[-1]
    assert drawn(build(tokenizer, n=64), disable=True)[0] == []
    assert counts(drawn(build(tokenizer, n=64), total=100)[0])[-1] == (64, 100)

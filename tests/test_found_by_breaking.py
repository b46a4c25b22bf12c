"""What was found by somebody who tried to break the loader."""

from unittest import mock

import datasets
import numpy as np
import pytest

from filterloader import FilteringDataLoader, Random, TrainAll


@pytest.mark.parametrize("policy", [TrainAll(), Random(1.0)], ids=repr)
@pytest.mark.parametrize("large", [{20}, set(range(40))], ids=["one", "all"])
def test_numbers_too_large_for_a_tensor_are_an_error_not_an_end(policy, large):
    rows = [{"input_ids": [i], "label": 0, "hash": np.uint64(2**63 if i in large else 7)} for i in range(40)]
    columns = {"input_ids": [[i] for i in range(40)], "hash": np.array([row["hash"] for row in rows], np.uint64)}
    for data in (rows, datasets.Dataset.from_dict(columns)):
        with pytest.raises(ValueError, match="at most 9223372036854775807"):
            list(FilteringDataLoader(data, batch_size=4, policy=policy))


@pytest.mark.parametrize("policy", [TrainAll(), Random(1.0)], ids=repr)
def test_a_function_that_raises_stop_iteration_does_not_end_the_pass(policy):
    def collate(rows):
        return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(FilteringDataLoader([{"x": i} for i in range(8)], 4, collate_fn=collate, policy=policy))


@pytest.mark.parametrize("place", [0, 1, 3, 5])
def test_a_row_without_its_tokens_raises_wherever_it_stands(place):
    rows = [{"input_ids": [1, i], "label": i % 2} for i in range(8)]
    del rows[place]["input_ids"]
    with pytest.raises(ValueError, match="input_ids"):
        list(FilteringDataLoader(rows, batch_size=4, policy=TrainAll()))


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_as_a_pass_ends_counts_it_once(when):
    loader = FilteringDataLoader([{"input_ids": [1]}] * 8, batch_size=4, policy=TrainAll())
    iterator, clear = iter(loader), loader._chain.clear
    assert [len(next(iterator)["input_ids"]) for _ in range(2)] == [4, 4]

    def interrupted():
        if when == "after":
            clear()
        raise KeyboardInterrupt

    with mock.patch.object(loader._chain, "clear", interrupted), pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert (list(iterator), loader.epoch) == ([], 1)
    assert sum(len(batch["input_ids"]) for batch in loader) == 8
    assert (loader.epoch, loader.consumed) == (2, 16)

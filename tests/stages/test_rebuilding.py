"""Frameworks that make something else of a loader: refused or told in words."""

import warnings

import pytest
from torch.utils.data import DataLoader, IterableDataset

from filterloader import FilteringDataLoader, Random, TrainAll

ROWS = [{"input_ids": [2, i, 3], "label": i % 2} for i in range(64)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(ROWS)


@pytest.mark.parametrize("data", [ROWS, Stream()], ids=["rows", "stream"])
def test_a_plain_loader_of_its_parts_refuses_in_words(data):
    skip_first_batches = pytest.importorskip("accelerate.data_loader").skip_first_batches
    loader = FilteringDataLoader(data, 8, policy=Random(0.5, seed=1))
    with pytest.raises(RuntimeError, match=r"would not filter.*load_state_dict.*ignore_data_skip=True"):
        next(iter(skip_first_batches(loader, 2)))
    own = DataLoader(ROWS, 4, collate_fn=loader.collate_fn.collate_fn)  # who knows why may have the function
    assert len(next(iter(own))["label"]) == 4
    assert sum(len(batch["labels"]) for batch in loader) < 64  # and the loader itself is as before


def test_accelerate_saves_a_loader_that_it_holds_and_the_others_are_told(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    try:
        for hold in (accelerator.register_for_checkpointing, accelerator._dataloaders.append):
            loader = FilteringDataLoader(ROWS, 8, policy=Random(0.5), seed=1, shuffle=True)
            hold(loader)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                iterator = iter(loader)
            next(iterator)
            accelerator.save_state(tmp_path / hold.__name__)
            rest = [batch["input_ids"].tolist() for batch in iterator]
            accelerator.load_state(tmp_path / hold.__name__)
            assert [batch["input_ids"].tolist() for batch in loader] == rest
            accelerator._custom_objects.clear()
            accelerator._dataloaders.clear()
        with pytest.warns(UserWarning, match="save_state would leave it out.*register_for_checkpointing"):
            list(FilteringDataLoader(ROWS, 8, policy=TrainAll()))
    finally:
        accelerate.state.AcceleratorState._reset_state(True)

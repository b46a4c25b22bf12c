"""The pictures of runs: nothing cut off, nothing on top of something else, and matplotlib only where it is needed."""

import builtins
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from filterloader.experiments import pictures
from filterloader.experiments import tables as report
from tests.conftest import run_lines, write_lines

SHORT = ((0, "warm-up"), (0.02, "fit"), (0.021, "filter"))
LATE = ((0, "warm-up"), (0.97, "fit"), (0.98, "filter"))
BACK = (
    (0, "warm-up"),
    (0.02, "fit"),
    (0.03, "filter"),
    (0.5, "warm-up"),
    (0.51, "fit"),
    (0.52, "filter"),
    (0.99, "warm-up"),
)
NAMED = ((0, "warming everything up"), (0.01, "fitting the predictor"), (0.5, "filtering at last"))
CASES = {  # the settings of each run: what a sweep, a resumed run, or a single one may look like
    "one": [{"stages": SHORT}],
    "two of one length": [{"wall": 99.9}, {"policy": "train_all", "wall": 100.0, "stages": ()}],
    "three seeds": [
        {"policy": p, "seed": s, "wall": w + s, "stages": SHORT}
        for p, w in (("train_all", 400.0), ("random", 180.0))
        for s in range(3)
    ],
    "late and named": [{"stages": LATE}, {"policy": "other", "stages": NAMED}],
    "hours": [{"wall": 8000.0}, {"policy": "train_all", "wall": 21000.0}, {"policy": "r", "wall": 20.0}],
    "a sweep": [
        {
            "wall": 100.0 + 30 * i,
            "accuracy": 0.8 + 0.01 * i,
            "stages": (SHORT, LATE, BACK)[i % 3],
            "cutoff": 0.1 * i,
            "predictor": "MultinomialNB(calibrate=True)"
            if i % 2
            else "BernoulliNB(calibrate=True, alpha=0.01, half_life=1000)",
        }
        for i in range(12)
    ],
    "one endless name": [{"policy": "a_policy_" + "of_a_name_without_a_space_" * 6}, {"policy": "b"}],
}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function: settings of runs -> the figures that are saved, by name."""
    figures = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.update({path.stem: figure}))

    def draw(runs):
        paths = [write_lines(tmp_path / f"{i:02d}.jsonl", run_lines(**run)) for i, run in enumerate(runs)]
        pictures.draw(report.find_runs(paths), tmp_path)
        for figure in figures.values():
            figure.canvas.draw()
        return figures

    return draw


@pytest.fixture
def runs(tmp_path):
    return report.find_runs([write_lines(tmp_path / f"{p}.jsonl", run_lines(p)) for p in ("three_stage", "train_all")])


def boxes(figure):
    """Where each text and each frame stands, by what it says, in pixels."""
    found = {"frame " + str(i): axes.get_window_extent() for i, axes in enumerate(figure.axes) if axes.get_visible()}
    texts = [
        figure._suptitle,
        figure._supylabel,
        *(text for legend in figure.legends for text in (*legend.get_texts(), legend.get_title())),
    ]
    for axes in figure.axes:
        if axes.get_visible():
            texts += [axes._left_title, axes.xaxis.label, axes.yaxis.label]
    shown = [text for text in texts if text is not None and text.get_text().strip()]
    return found | {f"{i} {text.get_text()}": text.get_window_extent() for i, text in enumerate(shown)}


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_or_stands_on_another(drawn, case):
    for name, figure in drawn(CASES[case]).items():
        there, whole = boxes(figure), figure.bbox.padded(1)
        for text, box in there.items():
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1, (name, text)
        for (one, left), (other, right) in itertools.combinations(there.items(), 2):
            assert not left.padded(-1).overlaps(right.padded(-1)), (name, one, other)


@pytest.mark.parametrize("case", CASES)
def test_a_frame_keeps_room_beside_its_names(drawn, case):
    for name, figure in drawn(CASES[case]).items():
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert not axes.get_visible() or (box.width > 3 * figure.dpi and box.height > 1.3 * figure.dpi), (name, box)


@pytest.mark.parametrize("case", CASES)
def test_no_mark_of_a_run_is_cut_at_an_edge(drawn, case):
    axes = drawn(CASES[case])["accuracy"].axes[0]
    frame = axes.get_window_extent()
    marks = [line for line in axes.lines if line.get_marker() not in (None, "None")]
    assert len(marks) >= len(CASES[case])
    for line in marks:
        x, y = axes.transData.transform(line.get_xydata()[0])
        radius = line.get_markersize() / 2 / 72 * axes.figure.dpi
        assert x + radius < frame.x1 and frame.y0 < y - radius and y + radius < frame.y1
        assert x - radius > frame.x0 or not line.get_clip_on()


@pytest.mark.parametrize("stages", [SHORT, LATE, BACK, NAMED])
def test_stages_are_a_band_above_the_frame_from_where_each_begins_to_the_next(drawn, stages):
    figure = drawn([{"stages": stages}])["loss"]
    axes = figure.axes[0]
    places = [int(1000 * share) for share, _ in stages] + [1000]
    bands = [(patch.get_x(), patch.get_x() + patch.get_width(), patch.get_facecolor()) for patch in axes.patches]
    assert [(start, end) for start, end, _ in bands] == [*itertools.pairwise(places)]
    by_stage = {}
    for (_, stage), (*_, colour) in zip(stages, bands, strict=True):
        assert by_stage.setdefault(stage, colour) == colour
    assert len(set(by_stage.values())) == len(by_stage)
    told = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {f"stage {stage}" for _, stage in stages} < told


def test_pictures_are_drawn_without_touching_matplotlib(runs, tmp_path):
    before = dict(matplotlib.rcParams)
    written = pictures.draw(runs, tmp_path / "new" / "pictures")
    assert [path.name for path in written] == ["loss.png", "shares.png", "accuracy.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000 for path in written)
    assert dict(matplotlib.rcParams) == before


def test_pictures_follow_what_is_known(tmp_path):
    lines = [line for line in run_lines(policy="$odd_{name}$") if line["event"] in ("start", "end")]
    written = pictures.draw([report.read_run(write_lines(tmp_path / "a.jsonl", lines))], tmp_path)
    assert [path.name for path in written] == ["accuracy.png"]
    bare = report.read_run(write_lines(tmp_path / "b.jsonl", lines[:1]))
    with pytest.raises(ValueError, match="nothing to draw: none of the 1 runs"):
        pictures.draw([bare], tmp_path)


def test_matplotlib_is_only_needed_to_draw(runs, tmp_path, monkeypatch):
    code = f"import runpy, sys; runpy.run_path({pictures.__file__!r}); print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install filterloader\[report\]"):
        pictures.draw(runs, tmp_path)


def test_smoothing_keeps_a_constant_and_skips_nans():
    values = np.full(60, 2.0)
    values[[0, 30]] = np.nan
    smooth = pictures._smooth(values)
    assert np.isnan(smooth[[0, 30]]).all() and np.allclose(smooth[~np.isnan(values)], 2.0)
    assert pictures._smooth(np.array([1.0])).tolist() == [1.0]

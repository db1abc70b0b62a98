"""A state goes on only with the model that it is of: another run is refused, and the file stays."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

import unrolled
from support_stream import make_run, rows, write_run
from unrolled.deploy.serve import open_stream
from unrolled.model import Run, Scaler


def another_weight() -> Run:
    """Of which one differs in its last bit."""
    run = make_run("gru")
    with torch.no_grad():
        weight = run.network.recurrent.get_parameter("weight_hh_l0")
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    return run


def another_scaler(which: str, part: str) -> Run:
    run = make_run("gru")
    scalers = {"input": run.input_scaler, "target": run.target_scaler}
    values = {"mean": scalers[which].mean.copy(), "scale": scalers[which].scale.copy()}
    values[part][-1] = np.nextafter(values[part][-1], 99.0)
    scalers[which] = Scaler(**values)
    return Run(run.network, run.table, scalers["input"], scalers["target"])


OTHERS: dict[str, Callable[[], Run]] = {
    "columns of other names": lambda: make_run("gru", inputs=["a", "c"]),
    "columns in another order": lambda: make_run("gru", inputs=["b", "a"]),
    "targets of other names": lambda: make_run("gru", targets=["b", "y", "x"]),
    "targets in another order": lambda: make_run("gru", targets=["y", "b", "z"]),
    "another cell": lambda: make_run("rnn"),
    "another cell with more states": lambda: make_run("lstm"),
    "one layer more": lambda: make_run("gru", num_layers=2),
    "another number of columns": lambda: make_run("gru", input_size=3, inputs=["a", "b", "c"]),
    "another row that is predicted": lambda: make_run("gru", ahead=1),
    "changes": lambda: make_run("gru", difference=True),
    "several series": lambda: make_run("gru", group="who"),
    "another weight": another_weight,
    "another mean of the inputs": lambda: another_scaler("input", "mean"),
    "another scale of the inputs": lambda: another_scaler("input", "scale"),
    "another mean of the targets": lambda: another_scaler("target", "mean"),
    "another scale of the targets": lambda: another_scaler("target", "scale"),
}


@pytest.fixture
def state(tmp_path):
    stream = unrolled.Stream(make_run("gru"))
    stream.step_many(rows(3, 2))
    stream.save(tmp_path / "s")
    return tmp_path / "s"


@pytest.mark.parametrize("other", OTHERS)
def test_the_state_of_another_model_is_refused(other, state, tmp_path):
    run = write_run(tmp_path / "run", OTHERS[other]())
    before = state.read_bytes()
    words = f"^{re.escape(f'{state}: holds the state of another model than {run}. ')}"
    with pytest.raises(unrolled.InputError, match=words):
        open_stream(run, state)
    assert state.read_bytes() == before


def test_the_same_run_in_another_folder_goes_on(state, tmp_path):
    run = write_run(tmp_path / "run", make_run("gru"))
    stream, goes_on = open_stream(run, state)
    assert goes_on
    assert stream.state["steps"] == 3

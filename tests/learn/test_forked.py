"""A forked process, such as a server's worker, has none of its parent's threads: nothing waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import io, json, os, signal, sys, traceback
from pathlib import Path

import numpy as np, pandas as pd, polars as pl, torch
import unrolled
from unrolled.learn.inspection import inspect_run
from unrolled.model import load_run, save_run

torch.set_num_threads(4)
folder = Path(sys.argv[1])
t = 0.3 * np.arange(200)
frame = pl.DataFrame({"a": np.sin(t), "b": np.cos(t), "g": ["x", "y"] * 100})
frame = pl.concat([frame] * 20)
gaps = frame.with_columns(a=pl.when(pl.col("a") < 0.9).then("a"))
frame.write_csv(folder / "t.csv")
frame.write_parquet(folder / "t.parquet")
settings = unrolled.TrainSettings(input=["a"], target=["b"], group="g", window=4, epochs=1)
run = unrolled.train_table(frame, settings).run
(folder / "run").mkdir()
save_run(run, folder / "run")
rng = np.random.default_rng(0)
x, y = rng.normal(size=(2000, 20)), rng.normal(size=2000)
model = unrolled.SequenceRegressor(epochs=1, random_state=0).fit(x, y)
stream = unrolled.Stream(load_run(folder / "run"))
tables = {
    "polars": frame,
    "pandas": frame.to_pandas(),
    "pyarrow": frame.to_arrow(),
    "csv": folder / "t.csv",
    "parquet": folder / "t.parquet",
}
work = {f"predict_table of {kind}": lambda table=table: unrolled.predict_table(run, table)
        for kind, table in tables.items()}
work |= {
    "predict_table with missing values": lambda: unrolled.predict_table(run, gaps, missing="drop"),
    "the rows of predictions": lambda: list(unrolled.predict_table(run, frame).frame.iter_rows()),
    "the records of predictions": lambda: unrolled.predict_table(run, frame).frame.to_dicts(),
    "load_run": lambda: load_run(folder / "run"),
    "train_table": lambda: unrolled.train_table(
        tables["pandas"], settings.model_copy(update={"threads": 4})),
    "inspect_run": lambda: inspect_run(run, tables["pandas"], steps=10),
    "SequenceRegressor.fit": lambda: unrolled.SequenceRegressor(epochs=1).fit(x, y),
    "SequenceRegressor.predict": lambda: model.predict(x),
    "SequenceRegressor.score": lambda: model.score(x, y),
    "Stream.step": lambda: stream.step([1.0]),
    "Stream of a folder": lambda: unrolled.Stream(folder / "run").step_many([[1.0]] * 9),
    "export_onnx": lambda: unrolled.export_onnx(run, folder / "m.onnx"),
}
# The parent has all the threads that there are.
frame.lazy().select(pl.col("a") * 2).collect()
torch.randn(4_000_000).sigmoid()
for job in work.values():
    job()
found = {}
for name, job in work.items():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            job()
            threads = torch.get_num_threads()
            os._exit(0 if threads == 4 else 3)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    found[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(found))
"""
JOBS = [
    *(f"predict_table of {kind}" for kind in ("polars", "pandas", "pyarrow", "csv", "parquet")),
    "predict_table with missing values",
    "the rows of predictions",
    "the records of predictions",
    "load_run",
    "train_table",
    "inspect_run",
    "SequenceRegressor.fit",
    "SequenceRegressor.predict",
    "SequenceRegressor.score",
    "Stream.step",
    "Stream of a folder",
    "export_onnx",
]


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How each piece of work ended in a child of its own: 0, or minus SIGALRM's number."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    place: Path = tmp_path_factory.mktemp("forked")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(place)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "4", "POLARS_MAX_THREADS": "4"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found) == sorted(JOBS)
    return found


@pytest.mark.parametrize("job", JOBS)
def test_it_ends_in_a_forked_process(codes: dict[str, int], job: str) -> None:
    assert codes[job] == 0

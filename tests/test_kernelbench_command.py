"""`metalgen bench --kernelbench`: from a data set to figures that say what they are of."""

from __future__ import annotations

import json

from command_line import metalgen
from kernelbench_files import rows, write_clone

from metalgen.runs import open_run

CONSTANT = """
import torch
from torch import nn

class Model(nn.Module):
    def forward(self, x):
        return x.clamp(max=0).clamp(min=0)

def get_inputs():
    return [torch.rand(7)]

def get_init_inputs():
    return []
"""


def test_chosen_problems_are_scaled_run_and_stated(tmp_path):
    constant = {"code": CONSTANT, "level": 2, "name": "83_Constant", "problem_id": 83}
    table = tmp_path / "kb.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in [*rows(), constant]))
    done = metalgen(
        "bench", "--kernelbench", table, "--levels", "1,2", "--problems", "23,43,83",
        "--shapes", "v0", "--subset", "study", "--model", "builtin", "--out", tmp_path / "run",
        "--attempts", "2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "KernelBench v0.1, by the sizes of 3 of 4 problems" in done.stderr
    assert "left out: 1 that MPS could not run" in done.stderr
    plain = json.loads(done.stdout)
    assert plain["problems"] == 1
    assert plain["controls"] == {
        "level2/83_Constant": "the outputs do not depend on the inputs, as far as the tolerance"
        " can tell"
    }
    assert plain["conditions"]["shapes"] == "v0"
    assert plain["conditions"]["version"].startswith("KernelBench v0.1")
    with open_run(tmp_path / "run") as run:
        shares = run.problems()[0]
    assert shares.level == 1
    assert "sizes changed: batch_size 4096 -> 16, dim 393216 -> 16384" in shares.notes
    assert shares.description["inputs"][0]["shape"] == [16, 16384]


def test_wrong_uses_are_refused_in_one_line(tmp_path):
    clone = write_clone(tmp_path / "kb")
    for arguments, status, message in (
        ([clone, "--kernelbench", clone], 2, "give a folder of PROBLEMS"),
        ([], 2, "give a folder of PROBLEMS"),
        (["--kernelbench", tmp_path / "nowhere"], 3, "no KernelBench at"),
        (["--kernelbench", clone, "--levels", "one"], 2, "no list of numbers"),
    ):
        done = metalgen("bench", *arguments, "--model", "builtin", cwd=tmp_path)
        assert done.returncode == status, done.stderr
        assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()

"""KernelBench's problems are found in all their forms, recognised, chosen and made smaller."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernelbench_files import PROBLEMS, rows, write_clone, write_json_lines, write_parquet

from metalgen.errors import ProblemError
from metalgen.kernelbench import Budget, read_collection, recognise, select_problems
from metalgen.kernelbench.collection import Entry
from metalgen.kernelbench.scaling import Scaler, tensor_bytes
from metalgen.kernelbench.selection import LEFT_OUT
from metalgen.kernelbench.sizes import changes_between, sizes_of, with_sizes
from metalgen.problem import open_problem

SMALL = Budget(tensor_bytes=4 << 20, open_s=math.inf)


def select(source, folder, **options):
    return select_problems(source, folder=folder, opens=open_problem, **options)


def names(selection):
    return [problem.name for problem in selection.problems]


@pytest.mark.parametrize("form", ["clone", "parquet", "jsonl"])
def test_the_same_problems_are_found_in_every_form(tmp_path, form):
    write = {"clone": write_clone, "parquet": write_parquet, "jsonl": write_json_lines}[form]
    collection = read_collection(write(tmp_path / "kb"))
    assert collection.form == form
    found = {(e.level, e.number, e.name): e.code for e in collection.entries}
    assert found == PROBLEMS
    assert [e.id for e in collection.entries] == ["L1/1", "L1/23", "L1/43", "L2/12", "L3/4"]


def test_a_level_of_a_clone_or_its_inner_folder_will_do(tmp_path):
    clone = write_clone(tmp_path)
    assert len(read_collection(clone / "KernelBench").entries) == 5
    assert len(read_collection(clone / "KernelBench" / "level1").entries) == 3


def test_a_table_without_levels_takes_them_from_its_name(tmp_path):
    file = tmp_path / "level_2-00000-of-00001.jsonl"
    file.write_text(json.dumps({"code": "pass", "name": "7_Conv"}))
    (entry,) = read_collection(file).entries
    assert (entry.level, entry.number, entry.name) == (2, 7, "Conv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '{"code": "pass"}', "row 1 has no level or problem_id"),
        ("x.jsonl", "{", "is not JSON"),
        ("x.parquet", "no table", "cannot read"),
        ("x.jsonl", '{"text": "pass"}', "no KernelBench problems"),
        ("level1/x.py", "pass", "no KernelBench problems"),
    ],
)
def test_what_is_no_kernelbench_is_refused_with_what_was_expected(tmp_path, name, content, message):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(ProblemError, match=message) as caught:
        read_collection(tmp_path)
    assert "\n" not in str(caught.value)


def test_versions_are_told_by_known_sizes():
    entries = [Entry(r["level"], r["problem_id"], r["name"], r["code"]) for r in rows()]
    version = recognise(entries)
    assert version.name == "v0.1"
    assert str(version) == "v0.1, by the sizes of 3 of 4 problems that tell versions apart"


def test_sizes_of_both_versions_are_called_mixed_and_of_neither_unknown():
    new, old = Entry(1, 1, "", "N = 2048 * 2"), Entry(1, 23, "", "batch_size = 16\ndim = 16384")
    assert recognise([old]).name == "v0"
    assert recognise([new, old]).name == "mixed"
    assert recognise([Entry(1, 1, "", "N = 100")]).name == "unknown"
    assert str(recognise([Entry(1, 2, "", "")])).startswith("unknown version: none of")


def test_levels_numbers_ranges_and_names_choose(tmp_path):
    clone = write_clone(tmp_path / "kb")
    chosen = select(clone, tmp_path / "out", levels=[1], problems="20-50")
    assert names(chosen) == ["level1/23_Row_shares", "level1/43_Left_out"]
    chosen = select(clone, tmp_path / "out", problems="LINEAR, L1/1, 4")
    assert names(chosen) == [
        "level1/1_Square_product_",
        "level2/12_Linear_scaled",
        "level3/4_Fixed_flatten",
    ]
    with pytest.raises(ProblemError, match="'7-9' names no problem"):
        select(clone, tmp_path / "out", problems="1,7-9")
    with pytest.raises(ProblemError, match=r"no level 5 in .*; it has 1, 2, 3"):
        select(clone, tmp_path / "out", levels=[1, 5])


def test_the_study_leaves_out_what_mps_could_not_run(tmp_path):
    assert len(LEFT_OUT) == 9 + 22
    chosen = select(write_clone(tmp_path / "kb"), tmp_path / "out", levels=[1], subset="study")
    assert names(chosen) == ["level1/1_Square_product_", "level1/23_Row_shares"]
    assert chosen.left_out == ("1 that MPS could not run in the study",)


def test_problems_as_they_are_stay_where_they_lie_and_rows_become_files(tmp_path):
    clone = write_clone(tmp_path / "kb")
    (chosen,) = select(clone, tmp_path / "out", problems="43").problems
    assert chosen.path == clone / "KernelBench/level1/43_Left_out.py"
    assert not (tmp_path / "out").exists()
    table = write_json_lines(tmp_path / "rows")
    (chosen,) = select(table, tmp_path / "out", problems="43").problems
    assert chosen.path == tmp_path / "out/level1/43_Left_out.py"
    assert chosen.path.read_text() == PROBLEMS[1, 43, "Left_out"]


def test_names_of_a_table_cannot_leave_the_folder(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {"code": "x = 1", "level": 1, "name": "1_../../../evil", "problem_id": 1}
    file.write_text(json.dumps(row))
    (chosen,) = select(file, tmp_path / "out").problems
    assert chosen.path.parent == tmp_path / "out/level1"


def test_scaled_problems_run_within_the_budget_and_say_what_was_changed(tmp_path):
    clone = write_clone(tmp_path / "kb")
    chosen = select(clone, tmp_path / "out", shapes="scaled", budget=SMALL)
    for problem in chosen.problems:
        opened = open_problem(problem.path)
        assert tensor_bytes(opened) <= SMALL.tensor_bytes, problem.name
        if problem.number != 43:
            assert tensor_bytes(opened) > SMALL.tensor_bytes / 64, problem.name
    square, shares, small, linear, fixed = chosen.problems
    assert square.changes == ("N 4096 -> 512",)
    assert shares.changes == ("batch_size 4096 -> 64", "dim 393216 -> 6144")
    assert small.changes == ()
    assert linear.changes == (
        "batch_size 1024 -> 64",
        "in_features 8192 -> 512",
        "out_features 8192 -> 512",
    )  # groups, at 8, are structure
    # The flattened size is written into the module: height and width must stay.
    assert [change.split()[0] for change in fixed.changes] == [
        "batch_size",
        "classes",
        "layers[0]",
        "layers[1]",
    ]


def test_scaling_changes_the_numbers_and_nothing_else(tmp_path):
    before = PROBLEMS[2, 12, "Linear_scaled"]
    after = with_sizes(before, {"batch_size": 32, "in_features": 64})
    assert after == before.replace("= 1024  #", "= 32  #").replace(
        "in_features = 8192", "in_features = 64"
    )


def test_what_cannot_be_made_smaller_stays_and_says_so(tmp_path):
    code = """
import torch
from torch import nn
SIZE = 4096
assert SIZE == 4096

class Model(nn.Module):
    def forward(self, x):
        return x + 1

def get_inputs():
    return [torch.rand(SIZE, 100)]

def get_init_inputs():
    return []
"""
    (tmp_path / "level1").mkdir()
    (tmp_path / "level1" / "1_Stubborn.py").write_text(code)
    (chosen,) = select(tmp_path, tmp_path / "out", shapes="scaled", budget=SMALL).problems
    assert chosen.changes == ()
    assert chosen.note == "the reference runs at no other sizes"
    assert chosen.path == tmp_path / "level1" / "1_Stubborn.py"


def test_what_is_too_large_at_its_smallest_is_made_as_small_as_it_runs(tmp_path):
    clone = write_clone(tmp_path / "kb")
    budget = Budget(tensor_bytes=1000, open_s=math.inf)
    (chosen,) = select(
        clone, tmp_path / "out", problems="L1/1", shapes="scaled", budget=budget
    ).problems
    assert chosen.changes == ("N 4096 -> 16",)
    assert chosen.note == "larger than the budget even at its smallest"


def test_a_budget_of_time_decides_too(tmp_path):
    code = """
import torch
from torch import nn
steps = 64

class Model(nn.Module):
    def forward(self, x):
        return x + 1

def get_inputs():
    return [torch.rand(steps)]

def get_init_inputs():
    return []
"""
    now = [0.0]

    def opens(path):
        problem = open_problem(path)
        now[0] += 0.002 * problem.inputs[0].shape[0]  # as if its reference took so long
        return problem

    scaler = Scaler(code, tmp_path, opens, Budget(open_s=0.1), clock=lambda: now[0])
    assert scaler.scaled().changes == ("steps 64 -> 32",)


def test_v0_has_its_sizes_from_the_clones_own_history(tmp_path):
    clone = write_clone(tmp_path / "kb")
    file = clone / "KernelBench/level2/12_Linear_scaled.py"
    new = file.read_text()
    file.write_text(with_sizes(new, {"batch_size": 128, "in_features": 320, "out_features": 512}))
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "v0"],
        ["tag", "v0"],
    ):
        subprocess.run(["git", "-C", str(clone), *command], check=True)
    file.write_text(new)
    (chosen,) = select(clone, tmp_path / "out", problems="L2/12", shapes="v0").problems
    assert chosen.note == "v0's sizes, from the clone's tag v0"
    assert chosen.changes[1] == "in_features 8192 -> 320"
    assert open_problem(chosen.path).inputs[0].shape == (128, 320)


def test_v0_has_its_sizes_from_the_list_or_says_that_they_are_not_known(tmp_path):
    table = write_json_lines(tmp_path / "rows")
    chosen = select(table, tmp_path / "out", shapes="v0", levels=[1], budget=SMALL)
    square, shares, small = chosen.problems
    assert square.changes == ("N 4096 -> 2048",)
    assert shares.changes == ("batch_size 4096 -> 16", "dim 393216 -> 16384")
    assert shares.note == "v0's sizes, from metalgen's list"
    assert small.note.startswith("v0's sizes of it are not known here")


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 10**6), min_size=1))
def test_sizes_that_were_put_in_are_found_again(values):
    code = "a = 4 * 8  # é\nb, c = 16, 2 ** 5\nd = e = 7\nf = 'é'; g = [1, (2)]\nh = a * 2\n"
    changed = with_sizes(code, values)
    assert {s.name: s.value for s in sizes_of(changed) if s.name in values} == values
    before = {s.name: s.value for s in sizes_of(code)}
    assert before == {"a": 32, "b": 16, "c": 32, "d": 7, "g[0]": 1, "g[1]": 2}
    assert len(changes_between(code, changed)) == sum(before[k] != v for k, v in values.items())

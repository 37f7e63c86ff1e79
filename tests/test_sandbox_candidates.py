"""Whatever a candidate does in its process ends as a verdict; the next is judged as usual."""

from __future__ import annotations

import time

import pytest
from problem_files import ADD, add_plan, add_reply, reply, write_problem

from metalgen.generation import Limits, parse_reply
from metalgen.generation.evaluator import Evaluator
from metalgen.generation.feedback import brief_warnings
from metalgen.generation.result import verdict_json, verdict_of_json
from metalgen.proposers import Accepted, Rejected

TIME_LIMIT_S = 2.0
ENDLESS = "volatile device float* p = y; while (p[i] != 7.0f) p[i] = 1.0f;"


@pytest.fixture(scope="module")
def evaluator():
    limits = Limits(launch_s=TIME_LIMIT_S, memory_bytes=2 << 30)
    with Evaluator(limits) as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def problem(evaluator, tmp_path_factory):
    return evaluator.open(write_problem(tmp_path_factory.mktemp("problem"), ADD))


@pytest.fixture
def judge(evaluator, problem):
    return lambda text: evaluator.evaluate(problem, parse_reply(text)).verdict


def assert_the_next_candidate_is_judged_as_usual(judge):
    assert isinstance(judge(add_reply()), Accepted)


def test_an_endless_loop_is_rejected_when_its_time_is_up(judge):
    started = time.monotonic()
    verdict = judge(add_reply(ENDLESS))
    assert verdict == Rejected(
        "launch",
        "the candidate timed out after 2 s (on the inputs as given); does a loop never end, or do"
        " some threads wait where others never come?",
    )
    assert time.monotonic() - started < TIME_LIMIT_S + 60
    assert_the_next_candidate_is_judged_as_usual(judge)


def test_a_write_far_out_of_bounds_is_rejected_as_a_crash(judge):
    verdict = judge(add_reply("for (ulong k = 0; k < (1ul << 36); k += 4096) y[i + k] = a[i];"))
    assert isinstance(verdict, Rejected)
    assert verdict.stage == "launch"
    assert verdict.reason.startswith("the candidate crashed (SIG")
    assert "reads or writes outside of a buffer" in verdict.reason
    assert_the_next_candidate_is_judged_as_usual(judge)


UNUSED = "const float scale = 2.0f; "
WARNED = "unused variable 'scale' [-Wunused-variable]"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("y[i] = 0;", Rejected),
        ("y[i] = a[i] + b[i];", Accepted),
        (ENDLESS, Rejected),
        ("for (ulong k = 0; k < (1ul << 36); k += 4096) y[i + k] = a[i];", Rejected),
    ],
    ids=["wrong", "right", "endless", "crashing"],
)
def test_the_compilers_warnings_are_told_with_the_verdict(judge, body, kind):
    verdict = judge(add_reply(UNUSED + body))
    assert isinstance(verdict, kind)
    (warning,) = verdict.warnings
    assert warning.startswith("kernels.metal:")
    assert warning.endswith(f"warning: {WARNED}")
    assert verdict_of_json(verdict_json(verdict)) == verdict


def test_of_many_warnings_a_few_are_told_and_how_many_there_are():
    many = [f"kernels.metal:{n}:1: warning: {'x' * 300}\n  code\n  ^" for n in range(8)]
    told = brief_warnings([*many, many[0]])
    assert [len(line) for line in told[:5]] == [200] * 5
    assert told[5:] == ["and 3 more"]


def test_a_write_just_past_the_end_is_found(judge):
    verdict = judge(add_reply("y[i] = a[i] + b[i]; if (i == n - 1) y[n] = 1;"))
    assert verdict == Rejected("verify", "wrote past the end of 'y' (on the inputs as given)")
    assert_the_next_candidate_is_judged_as_usual(judge)


def test_writing_past_the_end_what_was_read_past_the_end_is_found(judge):
    verdict = judge(add_reply("y[i] = a[i] + b[i]; if (i == n - 1) y[n] = a[n];"))
    assert verdict == Rejected("verify", "wrote past the end of 'y' (on the inputs as given)")


def test_relying_on_what_threadgroup_memory_holds_is_found(judge):
    body = """
      threadgroup float partial[256];
      partial[i % 64] = 0;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      y[i] = a[i] + b[i] + partial[64 + i % 64];"""
    verdict = judge(add_reply(body))
    assert isinstance(verdict, Rejected)
    assert verdict.stage == "verify"


def test_a_write_before_the_start_is_found(judge):
    verdict = judge(add_reply("y[i] = a[i] + b[i]; if (i == 0) y[-1] = 1;"))
    assert verdict == Rejected("verify", "wrote before the start of 'y' (on the inputs as given)")


def test_a_write_to_an_input_is_found(judge):
    body = "y[i] = a[i] + b[i]; const_cast<device float*>(a)[i] = 0;"
    verdict = judge(add_reply(body))
    assert isinstance(verdict, Rejected)
    assert verdict.reason.startswith("changed 'a', which is an input or parameter")


def test_reading_past_the_end_of_an_input_gives_nan_rather_than_luck(judge):
    verdict = judge(add_reply("y[i] = a[i] + b[i] + (i == n - 1 ? a[n] * 1e-30f : 0);"))
    assert isinstance(verdict, Rejected)
    assert "1 are NaN" in verdict.reason


def test_asking_for_too_much_memory_is_rejected(judge):
    plan = add_plan()
    plan["buffers"] = {"t": {"dtype": "float32", "shape": [1 << 20, 1 << 10]}}
    signature = add_reply().split("\n")[3]
    verdict = judge(reply(signature, plan))
    assert isinstance(verdict, Rejected)
    assert "'t': cannot allocate [1048576, 1024]" in verdict.reason
    assert_the_next_candidate_is_judged_as_usual(judge)


@pytest.mark.parametrize(
    "line",
    [
        '#include "/proc/self/environ"',
        "#include </etc/passwd>",
        "#include </etc/../etc/passwd>",
        '# /**/ include "secret.h"',
        "#inc\\\nlude </etc/passwd>",
        '%:include "/etc/passwd"',
        "#define FILE </etc/passwd>\n#include FILE",
        '#import "/etc/passwd"',
        "#embed </etc/passwd>",
        "#if __has_include(</root/.ssh/id_rsa>)\n#endif",
        'asm("nop");',
        '__asm__ volatile(".incbin \\"/etc/passwd\\"");',
    ],
)
def test_a_source_that_reaches_beyond_metal_is_not_compiled(judge, line):
    verdict = judge(reply(line + "\n" + add_reply().split("\n")[3], add_plan()))
    assert isinstance(verdict, Rejected)
    assert verdict.stage == "compile"
    # The line itself is refused (or the file that it names), and nothing of the file is quoted.
    refused = verdict.reason.startswith(("kernels.metal:3:", "kernels.metal:4:"))
    assert refused or "outside of the include directories" in verdict.reason
    assert "root:" not in verdict.reason
    assert "PATH=" not in verdict.reason


def test_a_host_function_cannot_be_called(judge):
    source = 'extern "C" int system(constant const char*);\n' + add_reply().split("\n")[3].replace(
        "y[i] =", 'system("touch /tmp/x"); y[i] ='
    )
    verdict = judge(reply(source, add_plan()))
    assert isinstance(verdict, Rejected)
    assert verdict.stage in ("compile", "launch")
    assert "system" in verdict.reason


def test_comments_about_files_are_only_comments(judge):
    body = '// #include "/etc/passwd"\n/* asm */ y[i] = a[i] + b[i];'
    assert isinstance(judge(add_reply(body)), Accepted)


def test_metals_own_headers_may_be_included(judge):
    source = "#include <metal_math>\n#include <metal_simdgroup>\n" + add_reply().split("\n")[3]
    assert isinstance(judge(reply(source, add_plan())), Accepted)

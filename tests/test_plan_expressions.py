"""Expressions in launch plans: exact whole numbers over shapes, and errors that help to repair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalgen.errors import PlanError
from metalgen.plan.expression import MAX_LENGTH, TensorType, parse_expression, render_python

SCOPE = {
    "x": TensorType((6, 10), "float32"),
    "fc.weight": TensorType((3, 10), "float32"),
    "layers.0.bias": TensorType((7,), "float32"),
    "k": 5,
    "alpha": 0.5,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (7, 7),
        ("7", 7),
        ("x.shape[0]", 6),
        ("x.shape[-1]", 10),
        ("x.numel() * 2", 120),
        ("x.ndim", 2),
        ("fc.weight.shape[0] + layers.0.bias.shape[0]", 10),
        ("k + 1", 6),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 3 - 2", 5),
        ("7 // 2 * 2", 6),
        ("-7 // 2", -4),
        ("7 % 4", 3),
        ("- -3", 3),
        ("ceil_div(x.shape[1], 4)", 3),
        ("min(x.shape[0], 4, 9)", 4),
        ("max(1, k)", 5),
        ("3037000499 * 3037000499", 9223372030926249001),
    ],
)
def test_an_expression_has_the_value_that_python_would_give(text, value):
    assert parse_expression(text).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.shape[0] / 2", "'/' is not allowed in 'x.shape[0] / 2'; use // for whole numbers"),
        ("1.5", "only whole numbers are allowed"),
        ("x.shape[0", "expected ']', found 'the end'"),
        ("(1 + 2", "expected ')'"),
        ("1 2", "unexpected '2'"),
        ("", "expected a number or a name, found 'the end'"),
        ("+ 1", "expected a number or a name, found '+'"),
        ("x.size(0)", "'x.size(' is unknown; there are name.shape[i], name.numel()"),
        ("__import__('os')", "not allowed"),
        ("x.shape[k]", "expected a whole number as the axis, found 'k'"),
        ("ceil_div(1)", "ceil_div takes 2 operands, found 1"),
        ("lambda: 0", "':' is not allowed"),
        (True, "expected a whole number or an expression"),
        (1.5, "expected a whole number or an expression"),
        (None, "expected a whole number or an expression"),
        (["x"], "expected a whole number or an expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_reason(text, message):
    with pytest.raises(PlanError) as caught:
        parse_expression(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z.shape[0]", "unknown name 'z' (known names: alpha, fc.weight, k, layers.0.bias, x)"),
        ("x.shape[2]", "'x' has 2 dimensions, so there is no shape[2]"),
        ("x.shape[-3]", "there is no shape[-3]"),
        ("x", "'x' is a tensor; write x.shape[i] or x.numel()"),
        ("k.shape[0]", "'k' is the number 5, which has no shape"),
        ("alpha", "'alpha' is 0.5, not a whole number"),
        ("x.numel() // (k - 5)", "division by zero"),
        ("k % (k - k)", "division by zero"),
        ("ceil_div(k, 0)", "division by zero"),
        ("9223372036854775807 + 1", "beyond 2**63"),
        ("x.numel() * 9223372036854775807", "beyond 2**63"),
    ],
)
def test_what_has_no_value_is_refused_with_a_reason(text, message):
    with pytest.raises(PlanError) as caught:
        parse_expression(text).evaluate(SCOPE)
    assert message in str(caught.value)
    assert f"in '{text}'" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["(" * 300 + "1" + ")" * 300, "-" * 300 + "1", "+".join("1" * 100), "9" * 300]
)
def test_deep_long_and_huge_expressions_are_refused_quickly(text):
    with pytest.raises(PlanError):
        parse_expression(text).evaluate({})


def test_an_expression_has_a_length_limit():
    with pytest.raises(PlanError, match=f"at most {MAX_LENGTH} allowed"):
        parse_expression("1" + " " * MAX_LENGTH)


def test_names_are_those_that_the_value_depends_on():
    expression = parse_expression("max(x.shape[0], fc.weight.numel()) + k * 2")
    assert expression.names == {"x", "fc.weight", "k"}
    assert expression.constant is None
    assert parse_expression("2 * 3").constant == 6


NUMBERS = st.integers(0, 50).map(str) | st.sampled_from(["a.shape[0]", "a.shape[1]", "b.numel()"])
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda parts: (
        st.tuples(parts, st.sampled_from(["+", "-", "*", "//", "%"]), parts).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        )
        | st.tuples(parts, parts).map(lambda t: f"min({t[0]}, {t[1]})")
        | st.tuples(parts, parts).map(lambda t: f"ceil_div({t[0]}, {t[1]})")
        | parts.map(lambda part: f"-({part})")
    ),
    max_leaves=8,
)


class Sizes:
    """A stand-in for a tensor that only has sizes."""

    def __init__(self, *shape):
        self.shape = shape

    def numel(self):
        return self.shape[0] * self.shape[1]


@given(EXPRESSIONS)
def test_the_python_that_is_written_for_an_expression_means_the_same(text):
    scope = {"a": TensorType((3, 4), "float32"), "b": TensorType((2, 5), "float32")}
    expression = parse_expression(text)
    written = render_python(expression.node, lambda name: name)
    names = {"a": Sizes(3, 4), "b": Sizes(2, 5)}
    try:
        value = expression.evaluate(scope)
    except PlanError:
        with pytest.raises(ZeroDivisionError):
            eval(written, {}, names)
    else:
        assert value == eval(written, {}, names)

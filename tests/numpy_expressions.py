"""Random expressions, each as Metal's text and as what NumPy makes of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy_expression import Expression, literal
from numpy_forms import forms
from numpy_threads import Array, Threads
from numpy_types import BFLOAT, BOOL, FLOAT, HALF, SCALARS, Scalar, Type, converted


class Expressions:
    """Draws expressions over `variables`, which a kernel declares."""

    def __init__(self, random: Random, variables: dict[str, Type]) -> None:
        self.random = random
        self.variables = variables

    def of(self, type: Type, depth: int) -> Expression:
        """An expression of exactly that type."""
        if depth == 0 or self.random.random() < 0.15:
            return self._leaf(type)
        kinds = [self._cast, self._choice]
        if type.width > 1:
            kinds += [self._built, self._shuffled]
        elif self.random.random() < 0.3:
            kinds.append(self._component)
        if type.scalar.is_bool:
            kinds += [self._comparison, self._logic]
        elif type.scalar.is_integer:
            kinds += [self._arithmetic, self._bits, self._integer_function, self._division] * 2
        else:
            kinds += [self._float_arithmetic, self._float_function] * 3
        if (found := forms(type)) and self.random.random() < 0.25:
            return self.random.choice(found)(self.random, self.of, type, depth - 1)
        return self.random.choice(kinds)(type, depth - 1)

    def condition(self, depth: int = 1) -> Expression:
        """Something to branch on."""
        return self._comparison(Type(BOOL), depth)

    def scalar(self) -> Scalar:
        return self.random.choice(SCALARS)

    def _leaf(self, type: Type) -> Expression:
        names = [name for name, known in self.variables.items() if known == type]
        if names and self.random.random() < 0.8:
            name = self.random.choice(names)
            return Expression(type, name, lambda threads: threads.variables[name].copy())
        number = literal(type.scalar, self.random.randint(-9, 99))
        return number if type.width == 1 else _splat(number, type)

    def _cast(self, type: Type, depth: int) -> Expression:
        source = self.scalar()
        inner = self.of(type.of(source), depth)
        if source.is_float and type.scalar.is_integer:
            return _bounded_cast(inner, type)
        if source.is_integer and type.scalar in (HALF, BFLOAT):
            # Through float, so that what is rounded twice is so by the source's own words.
            inner = _cast(inner, type.of(FLOAT))
        if type.scalar.is_bool and source.is_float:
            return _compare("!=", inner, self.of(type.of(source), 0), type)
        return _cast(inner, type)

    def _choice(self, type: Type, depth: int) -> Expression:
        yes, no = self.of(type, depth), self.of(type, depth)
        if self.random.random() < 0.5:
            when = self.condition()
            text = f"({when.text} ? {yes.text} : {no.text})"
        else:
            when = self._comparison(type.of(BOOL), depth)
            text = f"select({no.text}, {yes.text}, {when.text})"
            if type.scalar.is_bool or type.scalar is BFLOAT:
                when, text = self.condition(), ""
                text = f"({when.text} ? {yes.text} : {no.text})"

        def value(threads: Threads) -> Array:
            truth = when.value(threads)
            if truth.ndim < no.value(threads).ndim:
                truth = truth[:, None]
            return np.where(truth, yes.value(threads), no.value(threads))

        return Expression(type, text, value)

    def _built(self, type: Type, depth: int) -> Expression:
        parts = [self.of(Type(type.scalar), depth) for _ in range(type.width)]
        text = f"{type}({', '.join(part.text for part in parts)})"
        return Expression(
            type, text, lambda threads: np.stack([part.value(threads) for part in parts], axis=1)
        )

    def _shuffled(self, type: Type, depth: int) -> Expression:
        inner = self.of(Type(type.scalar, self.random.randint(2, 4)), depth)
        order = [self.random.randrange(inner.type.width) for _ in range(type.width)]
        names = "".join("xyzw"[i] for i in order)
        return Expression(
            type, f"{inner.text}.{names}", lambda threads: inner.value(threads)[:, order]
        )

    def _component(self, type: Type, depth: int) -> Expression:
        inner = self.of(Type(type.scalar, self.random.randint(2, 4)), depth)
        at = self.random.randrange(inner.type.width)
        text = f"{inner.text}.{'xyzw'[at]}" if self.random.random() < 0.5 else f"{inner.text}[{at}]"
        return Expression(type, text, lambda threads: inner.value(threads)[:, at])

    def _comparison(self, type: Type, depth: int) -> Expression:
        scalar = self.random.choice([s for s in SCALARS if not s.is_bool])
        operands = type.of(scalar)
        operator = self.random.choice(("<", ">", "<=", ">=", "==", "!="))
        return _compare(operator, self.of(operands, depth), self.of(operands, depth), type)

    def _logic(self, type: Type, depth: int) -> Expression:
        a, b = self.of(type, depth), self.of(type, depth)
        operator, do = self.random.choice((("&&", np.logical_and), ("||", np.logical_or)))
        text = f"({a.text} {operator} !{b.text})"
        return Expression(type, text, lambda t: do(a.value(t), ~b.value(t)))

    def _arithmetic(self, type: Type, depth: int) -> Expression:
        """Sums and products in unsigned numbers, where wrapping around is defined."""
        a, b = self.of(type, depth), self.of(type, depth)
        operator = self.random.choice("+-*&|^")
        wide = type.of(type.scalar.wide)
        text = f"{type}({wide}({a.text}) {operator} {wide}({b.text}))"
        do = _OPERATORS[operator]

        def value(threads: Threads) -> Array:
            x, y = (converted(each.value(threads), wide.scalar) for each in (a, b))
            return converted(do(x, y), type.scalar)

        return Expression(type, text, value)

    def _bits(self, type: Type, depth: int) -> Expression:
        a = self.of(type, depth)
        count = self.random.randrange(type.scalar.bits)
        if self.random.random() < 0.5:
            return Expression(
                type,
                f"{type}({a.text} >> {type}({count}))",
                lambda t: a.value(t) >> a.value(t).dtype.type(count),
            )
        wide = type.of(type.scalar.wide)

        def value(threads: Threads) -> Array:
            left = converted(a.value(threads), wide.scalar)
            return converted(left << left.dtype.type(count), type.scalar)

        return Expression(type, f"{type}({wide}({a.text}) << {wide}({count}))", value)

    def _division(self, type: Type, depth: int) -> Expression:
        a, b = self.of(type, depth), self.of(type, depth)
        operator = self.random.choice("/%")
        text = f"{type}({a.text} {operator} {type}(({b.text} & {type}(15)) + {type}(1)))"

        def value(threads: Threads) -> Array:
            x, y = a.value(threads), b.value(threads)
            y = (y & y.dtype.type(15)) + y.dtype.type(1)
            rest = np.fmod(x, y)
            return rest if operator == "%" else (x - rest) // y

        return Expression(type, text, value)

    def _integer_function(self, type: Type, depth: int) -> Expression:
        name = self.random.choice(list(_INTEGER_FUNCTIONS))
        count, do = _INTEGER_FUNCTIONS[name]
        inner = [self.of(type, depth) for _ in range(count)]
        text = f"{type}({name}({', '.join(each.text for each in inner)}))"
        bits = type.scalar.bits
        return Expression(
            type, text, lambda t: converted(do(bits, *(e.value(t) for e in inner)), type.scalar)
        )

    def _float_arithmetic(self, type: Type, depth: int) -> Expression:
        a, b = self.of(type, depth), self.of(type, depth)
        operator = self.random.choice("+-*/")
        text = f"{type}({a.text} {operator} {b.text})"
        do = _OPERATORS[operator]

        def value(threads: Threads) -> Array:
            with np.errstate(all="ignore"):
                return converted(do(a.value(threads), b.value(threads)), type.scalar)

        return Expression(type, text, value)

    def _float_function(self, type: Type, depth: int) -> Expression:
        name = self.random.choice(list(_FLOAT_FUNCTIONS))
        count, do = _FLOAT_FUNCTIONS[name]
        inner = [self.of(type, depth) for _ in range(count)]
        text = f"{type}({name}({', '.join(each.text for each in inner)}))"

        def value(threads: Threads) -> Array:
            with np.errstate(all="ignore"):
                return converted(do(*(e.value(threads) for e in inner)), type.scalar)

        return Expression(type, text, value)


_OPERATORS: dict[str, Callable[[Array, Array], Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    "^": np.bitwise_xor,
}
_COMPARISONS = {
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def _splat(number: Expression, type: Type) -> Expression:
    return Expression(
        type,
        f"{type}({number.text})",
        lambda threads: np.repeat(number.value(threads)[:, None], type.width, axis=1),
    )


def _cast(inner: Expression, type: Type) -> Expression:
    return Expression(
        type, f"{type}({inner.text})", lambda t: converted(inner.value(t), type.scalar)
    )


def _bounded_cast(inner: Expression, type: Type) -> Expression:
    """Of what is no number, or too large for the smallest integers, Metal promises nothing."""
    low = 0 if type.scalar.dtype.kind == "u" else -100
    wide = inner.type.of(FLOAT)
    zero = _splat(literal(FLOAT, 0), wide).text if wide.width > 1 else "0.0f"
    value_text = f"{wide}({inner.text})"
    text = f"{type}(clamp(select({value_text}, {zero}, isnan({value_text})), {low}.0f, 100.0f))"

    def value(threads: Threads) -> Array:
        numbers = np.nan_to_num(inner.value(threads).astype(np.float32), nan=0.0)
        return np.clip(numbers, low, 100).astype(type.scalar.dtype)

    return Expression(type, text, value)


def _compare(operator: str, a: Expression, b: Expression, type: Type) -> Expression:
    do = _COMPARISONS[operator]
    return Expression(type, f"({a.text} {operator} {b.text})", lambda t: do(a.value(t), b.value(t)))


def _unsigned(bits: int, x: Array) -> Array:
    return x.view(f"uint{bits}")


def _count_ones(bits: int, x: Array) -> Array:
    unsigned = _unsigned(bits, x)
    return sum((unsigned >> unsigned.dtype.type(i)) & unsigned.dtype.type(1) for i in range(bits))


def _leading_zeros(bits: int, x: Array) -> Array:
    unsigned = _unsigned(bits, x).astype(np.uint64)
    return sum((unsigned < np.uint64(1 << i)).astype(np.int64) for i in range(bits))


def _reversed(bits: int, x: Array) -> Array:
    unsigned = _unsigned(bits, x)
    one = unsigned.dtype.type(1)
    parts = [((unsigned >> unsigned.dtype.type(i)) & one) << unsigned.dtype.type(bits - 1 - i)
             for i in range(bits)]  # fmt: skip
    return np.bitwise_or.reduce(parts).view(x.dtype)


def _saturated(do: Callable[[object, object], object]) -> Callable[[int, Array, Array], Array]:
    def result(bits: int, x: Array, y: Array) -> Array:
        limits = np.iinfo(x.dtype)
        exact = do(x.astype(object), y.astype(object))
        return np.clip(exact, limits.min, limits.max).astype(x.dtype)

    return result


def _half_sum(extra: int) -> Callable[[int, Array, Array], Array]:
    return lambda bits, x, y: ((x.astype(object) + y.astype(object) + extra) >> 1).astype(x.dtype)


def _high_product(bits: int, x: Array, y: Array) -> Array:
    return ((x.astype(object) * y.astype(object)) >> bits).astype(x.dtype)


_INTEGER_FUNCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "min": (2, lambda bits, x, y: np.minimum(x, y)),
    "max": (2, lambda bits, x, y: np.maximum(x, y)),
    "max3": (3, lambda bits, x, y, z: np.maximum(np.maximum(x, y), z)),
    "median3": (3, lambda bits, x, y, z: np.sort(np.stack([x, y, z]), axis=0)[1]),
    "popcount": (1, _count_ones),
    "clz": (1, _leading_zeros),
    "ctz": (1, lambda bits, x: _leading_zeros(bits, _reversed(bits, x))),
    "reverse_bits": (1, _reversed),
    "addsat": (2, _saturated(np.add)),
    "subsat": (2, _saturated(np.subtract)),
    "hadd": (2, _half_sum(0)),
    "rhadd": (2, _half_sum(1)),
    "mulhi": (2, _high_product),
}
_FLOAT_FUNCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "fmin": (2, np.fmin),
    "fmax": (2, np.fmax),
    "abs": (1, np.abs),
    "floor": (1, np.floor),
    "ceil": (1, np.ceil),
    "trunc": (1, np.trunc),
    "rint": (1, np.rint),
    "-": (1, np.negative),
    "precise::sqrt": (1, np.sqrt),
}

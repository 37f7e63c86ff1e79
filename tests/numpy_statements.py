"""Random statements: assignments, control flow, what SIMD-groups and threadgroups do together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy_aggregates import BARRIER, Aggregates
from numpy_expressions import Expression, Expressions
from numpy_sequence import Statement, block
from numpy_tallies import device_tally
from numpy_threads import Array, Threads
from numpy_types import Type

RESULT = "return_results();"
ARRAY = 8  # elements of the private array `array`
# Head, foot, and how often the body runs at least; INDEX counts, END is given.
_LOOPS = (
    ("for (; INDEX < END; ++INDEX) {", "}", 0),
    ("while (INDEX < END) { ++INDEX;", "}", 0),
    ("do { ++INDEX;", "} while (INDEX < END);", 1),
)


class Statements:
    """Draws statements; `variables` are what they may assign to."""

    def __init__(self, random: Random, variables: dict[str, Type]) -> None:
        self.random = random
        self.variables = variables
        self.expressions = Expressions(random, variables)
        self.gathered = Aggregates(random, self.expressions)
        self.loops = 0

    def body(self) -> Statement:
        """What a kernel does between reading and writing."""
        early = [self._outside(2) for _ in range(self.random.randint(1, 4))]
        late = [self._late() for _ in range(self.random.randint(0, 3))]
        return block([*early, *late])

    def _late(self) -> Statement:
        return self._return() if self.random.random() < 0.3 else self._any(2, in_loop=False)

    def _outside(self, depth: int) -> Statement:
        """A statement where all threads of the threadgroup are together."""
        kind = self.random.random()
        if kind < 0.15:
            return self._exchange()
        if kind < 0.3:
            return self.gathered.tally()
        if kind < 0.4 and depth:
            return self._rounds(depth)
        return self._any(depth, in_loop=False)

    def _any(self, depth: int, in_loop: bool, leaves: bool = False) -> Statement:
        kinds = [self._assignment] * 3 + [self._element, self._store]
        kinds += [self.gathered.structure, self.gathered.matrix]
        kinds.append(lambda: device_tally(self.random, self.expressions.of))
        # Where a block leaves its loop, lanes that left in other rounds may join it: whether they
        # do is the compiler's choice, so nothing is done together there.
        if not leaves:
            kinds += [self._across, self._across, self._shuffle]
        if depth:
            kinds += [lambda: self._if(depth - 1, in_loop), lambda: self._loop(depth - 1)]
            kinds.append(lambda: self._switch(depth - 1))
        if in_loop:
            kinds.append(self._leave)
        return self.random.choice(kinds)()

    def _block(self, depth: int, in_loop: bool) -> Statement:
        count = self.random.randint(1, 3)
        return block([self._any(depth, in_loop) for _ in range(count)])

    def _name(self) -> str:
        return self.random.choice(list(self.variables))

    def _assignment(self) -> Statement:
        name = self._name()
        value = self.expressions.of(self.variables[name], 3)
        return _assign(name, value)

    def _element(self) -> Statement:
        """A component of a vector."""
        names = [name for name, type in self.variables.items() if type.width > 1]
        name = self.random.choice(names)
        at = self.random.randrange(self.variables[name].width)
        value = self.expressions.of(Type(self.variables[name].scalar), 2)

        def run(threads: Threads, active: Array) -> Array:
            values = value.value(threads)
            threads.variables[name][active, at] = values[active]
            return active

        return Statement(f"{name}.{'xyzw'[at]} = {value.text};", run)

    def _store(self) -> Statement:
        """Into the private array, and out of it, at places that differ by thread."""
        name = self.random.choice([n for n, t in self.variables.items() if str(t) == "int"])
        to = self.expressions.of(self.variables[name], 1)
        value = self.expressions.of(self.variables[name], 2)

        def run(threads: Threads, active: Array) -> Array:
            places, values = to.value(threads) & 7, value.value(threads)
            rows = np.flatnonzero(active)
            threads.variables["array"][rows, places[rows]] = values[rows]
            threads.assign(name, threads.variables["array"][:, 3], active)
            return active

        return Statement(f"array[{to.text} & 7] = {value.text}; {name} = array[3];", run)

    def _if(self, depth: int, in_loop: bool) -> Statement:
        when = self.expressions.condition()
        yes, no = self._block(depth, in_loop), self._block(depth, in_loop)
        if self.random.random() < 0.4:
            no = block([])

        def run(threads: Threads, active: Array) -> Array:
            taken = active & when.value(threads)
            other = active & ~taken
            return yes.run(threads, taken) | no.run(threads, other)

        return Statement(f"if ({when.text}) {{ {yes.text} }} else {{ {no.text} }}", run)

    def _loop(self, depth: int) -> Statement:
        self.loops += 1
        count = self.expressions.of(Type(self.variables["i0"].scalar), 1)
        body = self._block(depth, in_loop=True)
        head, foot, at_least = self.random.choice(_LOOPS)

        def run(threads: Threads, active: Array) -> Array:
            done, counts = threads.nobody, np.maximum(count.value(threads) & 3, at_least)
            threads.broken.append(threads.nobody)
            for number in range(4):
                going = active & (number < counts)
                done |= active & ~going
                threads.continued.append(threads.nobody)
                active = body.run(threads, going) | threads.continued.pop()
            return done | active | threads.broken.pop()

        index, end = f"round{self.loops}", f"end{self.loops}"
        text = f"{head} {body.text} {foot}".replace("INDEX", index).replace("END", end)
        return Statement(f"{{ int {end} = {count.text} & 3, {index} = 0; {text} }}", run)

    def _rounds(self, depth: int) -> Statement:
        """A loop that all threads go through together, with barriers in it."""
        self.loops += 1
        count = self.random.randint(1, 3)
        body = block([self._outside(depth - 1) for _ in range(self.random.randint(1, 2))])

        def run(threads: Threads, active: Array) -> Array:
            for _ in range(count):
                body.run(threads, active)
            return active

        head = f"for (uint r{self.loops} = 0; r{self.loops} < {count} + zero; ++r{self.loops})"
        return Statement(f"{head} {{ {body.text} }}", run)

    def _switch(self, depth: int) -> Statement:
        value = self.expressions.of(Type(self.variables["i0"].scalar), 1)
        cases = [block([self._any(depth, in_loop=False)]) for _ in range(3)]

        def run(threads: Threads, active: Array) -> Array:
            chosen, done = value.value(threads) & 3, threads.nobody
            for number, case in enumerate(cases):
                wanted = chosen == number if number < 2 else chosen >= 2
                done |= case.run(threads, active & wanted)
            return done

        first, second, rest = (case.text for case in cases)
        text = f"case 0: {{ {first} break; }} case 1: {{ {second} break; }} default: {{ {rest} }}"
        return Statement(f"switch ({value.text} & 3) {{ {text} }}", run)

    def _leave(self) -> Statement:
        when, word = self.expressions.condition(), self.random.choice(("break", "continue"))
        before = block([self._any(0, in_loop=False, leaves=True)])

        def run(threads: Threads, active: Array) -> Array:
            leaving = before.run(threads, active & when.value(threads))
            kept = threads.broken if word == "break" else threads.continued
            kept[-1] = kept[-1] | leaving
            return active & ~leaving

        return Statement(f"if ({when.text}) {{ {before.text} {word}; }}", run)

    def _return(self) -> Statement:
        when = self.expressions.condition()

        def run(threads: Threads, active: Array) -> Array:
            leaving = active & when.value(threads)
            return active & ~leaving

        return Statement(f"if ({when.text}) {{ {RESULT} return; }}", run)

    def _exchange(self) -> Statement:
        shared, word = self.random.choice((("shared", "int"), ("wide", "ulong")))
        name = self.random.choice([n for n, t in self.variables.items() if str(t) == word])
        distance = self.random.randint(0, 40)

        def run(threads: Threads, active: Array) -> Array:
            values = threads.variables[name].copy()
            for members in threads.groups:
                at = {int(threads.index[i]): i for i in members}
                for i in members:
                    other = (int(threads.index[i]) + distance) % int(threads.group_threads[i])
                    threads.variables[name][i] = values[at[other]]
            return active

        return Statement(
            f"{shared}[index] = {name}; {BARRIER} {name} = "
            f"{shared}[(index + {distance}) % threads]; {BARRIER}",
            run,
        )

    def _across(self) -> Statement:
        kind = self.random.choice(list(_ACROSS))
        size = 4 if kind.startswith("quad") else 32
        do, floats = _ACROSS[kind]
        names = [
            name
            for name, type in self.variables.items()
            if not type.scalar.is_bool
            and type.scalar.bits <= 32
            and type.scalar.name != "bfloat"
            and (floats or type.scalar.is_integer)
        ]
        name = self.random.choice(names)

        def run(threads: Threads, active: Array) -> Array:
            values = threads.variables[name]

            def together(rows: Array) -> Array:
                with np.errstate(all="ignore"):
                    return do(values[rows])

            result = threads.across(active, size, values.copy(), together)
            threads.assign(name, result, active)
            return active

        return Statement(f"{name} = {kind}({name});", run)

    def _shuffle(self) -> Statement:
        """From another lane if it takes part, else the lane's own value."""
        names = [
            n for n, t in self.variables.items() if t.scalar.bits <= 32 and not t.scalar.is_bool
        ]
        name = self.random.choice(names)
        call, source = self.random.choice(_SHUFFLES)
        distance = self.random.randint(0, 31)

        def run(threads: Threads, active: Array) -> Array:
            lanes = source(threads.lane, distance)
            threads.assign(name, threads.at_lane(threads.variables[name], lanes, active), active)
            return active

        return Statement(f"{name} = {call}({name}, lane, {distance});", run)


def _assign(name: str, value: Expression) -> Statement:
    def run(threads: Threads, active: Array) -> Array:
        threads.assign(name, value.value(threads), active)
        return active

    return Statement(f"{name} = {value.text};", run)


def _reduced(do: np.ufunc) -> Callable[[Array], Array]:
    return lambda values: np.broadcast_to(
        do.reduce(values, axis=0, dtype=values.dtype), values.shape
    )


def _scanned(values: Array) -> Array:
    return np.add.accumulate(values, axis=0, dtype=values.dtype)


# Sums and products of floats depend on their order, so they are of integers.
_ACROSS: dict[str, tuple[Callable[[Array], Array], bool]] = {
    "simd_sum": (_reduced(np.add), False),
    "simd_product": (_reduced(np.multiply), False),
    "simd_min": (_reduced(np.fmin), True),
    "simd_max": (_reduced(np.fmax), True),
    "simd_and": (_reduced(np.bitwise_and), False),
    "simd_or": (_reduced(np.bitwise_or), False),
    "simd_xor": (_reduced(np.bitwise_xor), False),
    "simd_prefix_inclusive_sum": (_scanned, False),
    "simd_prefix_exclusive_sum": (lambda values: _scanned(values) - values, False),
    "simd_broadcast_first": (lambda values: np.broadcast_to(values[:1], values.shape), True),
    "quad_sum": (_reduced(np.add), False),
    "quad_max": (_reduced(np.fmax), True),
    "quad_xor": (_reduced(np.bitwise_xor), False),
}
_SHUFFLES: list[tuple[str, Callable[[Array, int], Array]]] = [
    ("from_lane", lambda lane, distance: np.full_like(lane, distance)),
    ("from_xor", lambda lane, distance: lane ^ distance),
    ("from_below", lambda lane, distance: lane - distance),
    ("from_above", lambda lane, distance: lane + distance),
    ("from_around", lambda lane, distance: (lane + distance) % 32),
]

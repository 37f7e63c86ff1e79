"""Builds kernel packs from kept runs: each accepted candidate with the graph that it computes."""

from __future__ import annotations

import hashlib
import json
import operator
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch.fx import GraphModule

from metalgen.errors import MetalgenError, PackError, UnsupportedError
from metalgen.generation import Limits
from metalgen.generation.candidate import Candidate
from metalgen.generation.evaluator import Evaluator
from metalgen.generation.loop import default_device
from metalgen.optimize.attention.operator import keep_attention
from metalgen.optimize.attention.tidy import tidy
from metalgen.optimize.captured import static_placeholders
from metalgen.optimize.other_sizes import open_names, other_sizes_it_is_right_for
from metalgen.optimize.passes import OF_GRAPHS, rewrite_graph
from metalgen.optimize.shape_class import shape_class
from metalgen.packs import Entry, Manifest, Measured, Pack, Pattern, open_pack, pattern_of
from metalgen.packs.manifest import METALLIB, PLAN, PROBLEM, SOURCE
from metalgen.packs.pack import MANIFEST
from metalgen.plan import parse_plan
from metalgen.problem import LoadedProblem, open_problem
from metalgen.proposers.builtin.exportable import decompositions
from metalgen.runs import open_run


@dataclass(frozen=True)
class Packed:
    """A pack that was built, and what was left out of it: names and reasons."""

    pack: Pack
    left: tuple[tuple[str, str], ...]


def build_pack(runs: Sequence[Path], out: Path, name: str, version: str = "1.0") -> Packed:
    """Pack the best accepted candidate of every problem of `runs` into the new folder `out`.

    Runs are folders that `metalgen generate --out` or `bench --out` wrote, or their `best`.
    Candidates that were rejected, of problems that prove nothing, or whose module has no pattern
    are left out. Raises PackError where nothing remains, or `out` exists.
    """
    if out.exists():
        raise PackError(f"'{out}' exists; name another folder")
    kept = [folder for run in runs for folder in _kept(run)]
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with Evaluator(Limits(), device=default_device()) as evaluator:
            entries, left = _entries(kept, fresh, evaluator)
        if not entries:
            reasons = "; ".join(f"{kernel}: {reason}" for kernel, reason in left)
            raise PackError(f"nothing to pack: {reasons}")
        manifest = Manifest(
            name=name,
            version=version,
            metalgen=version_of("metalgen"),
            torch=torch.__version__,
            kernels=entries,
        )
        (fresh / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        pack = open_pack(fresh)
        fresh.chmod(0o755)
        fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Packed(Pack(out, pack.manifest), tuple(left))


def module_pattern(problem: LoadedProblem, *, has_open_parameters: bool = False) -> Pattern:
    """What a problem's module computes, captured as the optimiser captures models.

    `has_open_parameters`: sizes of parameters too are open where the module's code leaves them so.
    Raises UnsupportedError where the module is more than one graph, or has no pattern.
    """
    named = {**problem.named_inputs(), **problem.named_parameters()}
    numbers = {key: v for key, v in named.items() if isinstance(v, bool | int | float)}
    names = {_address(v): key for key, v in named.items() if isinstance(v, Tensor)}
    capture = _Capture(names, numbers)
    torch._dynamo.reset()
    try:
        # Sizes that are equal by chance stay apart.
        sizes = torch.fx.experimental._config.patch(use_duck_shape=False)  # type: ignore[attr-defined]
        # Numbers are what the kernel was made for.
        dynamo = torch._dynamo.config.patch(
            specialize_float=True,
            specialize_int=True,
            force_parameter_static_shapes=not has_open_parameters,
            force_nn_module_property_static_shapes=not has_open_parameters,
        )
        with sizes, dynamo, torch.no_grad():
            torch.compile(problem.module, backend=capture, dynamic=True)(*problem.inputs)
    except MetalgenError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(f"not supported: the module cannot be captured: {first}") from error
    finally:
        torch._dynamo.reset()
    if len(capture.patterns) != 1:
        count = len(capture.patterns)
        raise UnsupportedError(f"not supported: the module is {count} graphs, not one")
    return capture.patterns[0]


class _Capture:
    """A backend that keeps patterns, and learns from the first call what each placeholder is."""

    def __init__(
        self, names: dict[tuple[object, ...], str], numbers: dict[str, bool | int | float]
    ) -> None:
        self.patterns: list[Pattern] = []
        self._names = names
        self._numbers = numbers

    def __call__(self, module: GraphModule, inputs: Sequence[object]) -> Any:
        compiler = aot_autograd(
            fw_compiler=self._compile,
            inference_compiler=self._compile,
            decompositions=decompositions().materialize(),
        )
        return compiler(keep_attention(module), list(inputs))

    def _compile(self, module: GraphModule, inputs: Sequence[object]) -> Any:
        placeholders = [node.name for node in module.graph.find_nodes(op="placeholder")]
        parameters = static_placeholders(module)
        rewritten = rewrite_graph(module, parameters, OF_GRAPHS, {})
        tidy(rewritten.graph)

        def run(arguments: list[object]) -> Any:
            names = {
                node: name
                for node, value in zip(placeholders, arguments, strict=True)
                if isinstance(value, Tensor) and (name := self._names.get(_address(value)))
            }
            values = dict(zip(placeholders, arguments, strict=True))
            constants = _constants(rewritten, values, names)
            found = pattern_of(rewritten.graph, names, parameters, constants, self._numbers)
            self.patterns.append(found)
            given = tuple(arguments)
            arguments.clear()
            return rewritten(*given)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run


def _constants(
    module: GraphModule, values: Mapping[str, object], names: Collection[str]
) -> dict[str, Tensor]:
    """Tensors that the module's own code holds, by the nodes that give them."""
    given = {name: value for name, value in values.items() if name not in names}
    held = {
        node.name: operator.attrgetter(str(node.target))(module)
        for node in module.graph.find_nodes(op="get_attr")
    }
    both = {**given, **held}
    return {name: value for name, value in both.items() if isinstance(value, Tensor)}


def _address(tensor: Tensor) -> tuple[object, ...]:
    """What tells a tensor from all others that are alive, if it is looked at in another way too."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _kept(run: Path) -> Iterator[Path]:
    """Folders with a kept candidate."""
    for folder in (run, run / "best", *sorted(run.glob("*/best"))):
        if (folder / "manifest.json").is_file() and (folder / METALLIB).is_file():
            yield folder


def _entries(
    kept: Sequence[Path], fresh: Path, evaluator: Evaluator
) -> tuple[list[Entry], list[tuple[str, str]]]:
    entries: list[Entry] = []
    left: list[tuple[str, str]] = []
    for folder in kept:
        manifest = json.loads((folder / "manifest.json").read_text())
        name = _unique(Path(manifest["problem"]["path"]).stem, [entry.name for entry in entries])
        try:
            entries.append(_entry(folder, manifest, fresh / name, evaluator))
        except MetalgenError as error:
            left.append((name, str(error)))
            shutil.rmtree(fresh / name, ignore_errors=True)
    if not kept:
        left.append(
            ("runs", "no kept candidate; give folders that `metalgen generate --out` wrote")
        )
    return entries, left


def _unique(stem: str, taken: Sequence[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9_.-]", "_", stem)[:70].lstrip("_.-") or "kernel"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _entry(folder: Path, manifest: dict[str, Any], out: Path, evaluator: Evaluator) -> Entry:
    verdict = manifest["verdict"]
    if verdict.get("verdict") != "accepted":
        raise PackError("it was not accepted")
    if manifest["problem"].get("control"):
        raise PackError("its problem is a control, which proves nothing")
    out.mkdir()
    for file in (METALLIB, SOURCE, PLAN):
        shutil.copyfile(folder / file, out / file)
    (out / PROBLEM).write_bytes(_problem_source(folder, manifest))
    problem = open_problem(out / PROBLEM).load()
    inputs = problem.named_inputs()
    candidate = Candidate((out / SOURCE).read_text(), parse_plan((out / PLAN).read_bytes()))
    pattern, more_cases = _widest(problem, candidate, evaluator)
    shutil.rmtree(out / "__pycache__", ignore_errors=True)
    return Entry(
        name=out.name,
        pattern=pattern,
        sha256={file: _hash(out / file) for file in (METALLIB, SOURCE, PLAN, PROBLEM)},  # type: ignore[misc]
        model=manifest["model"],
        cases=[*manifest.get("evidence", {}).get("cases", []), *more_cases],
        shape_class=shape_class(inputs.values()),
        measured=Measured(
            kernel_us=verdict["candidate_us"],
            eager_us=verdict["eager_us"],
            device=manifest["device"],
        ),
        compiler=manifest["compiler"],
    )


def _widest(
    problem: LoadedProblem, candidate: Candidate, evaluator: Evaluator
) -> tuple[Pattern, list[str]]:
    """The pattern with open parameters if the candidate is right for others, and for which."""
    try:
        pattern = module_pattern(problem, has_open_parameters=True)
        if open_names(pattern):
            cases = other_sizes_it_is_right_for(evaluator, candidate, problem, pattern)
            if cases:
                return pattern, cases
    except UnsupportedError:
        pass  # the module as it is may have a pattern
    return module_pattern(problem), []


def _problem_source(folder: Path, manifest: dict[str, Any]) -> bytes:
    """The problem as it was judged, from its file or from the run's own store."""
    wanted = manifest["problem"]["sha256"]
    path = Path(manifest["problem"]["path"])
    if path.is_file() and hashlib.sha256(content := path.read_bytes()).hexdigest() == wanted:
        return content
    for place in (folder.parent, folder.parent.parent):
        if (place / "run.sqlite").is_file():
            with open_run(place) as run:
                for row in run.problems():
                    if row.sha256 == wanted:
                        return row.source.encode()
    raise PackError(f"its problem '{path}' has changed or is gone, and no run's store has it")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Records the runs beside this file anew: `python tests/cassettes/record.py` from the checkout.

No service is asked and no model answers: a local server (tests/chat_server.py) gives prepared
replies under three invented names. The times in the recordings are of the software device of the
machine that recorded them, and mean nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from chat_server import chat_server, completion  # noqa: E402
from problem_files import ADD, SCALE, add_reply, reply, write_problem  # noqa: E402

from metalgen.generation import Means, Settings, begin, conduct  # noqa: E402
from metalgen.generation.study import named_apart  # noqa: E402
from metalgen.generation.tasks import find_problems  # noqa: E402
from metalgen.proposers.openai import OpenAIProposer  # noqa: E402
from metalgen.proposers.prompts import Prompts  # noqa: E402

SCALED = reply(
    "kernel void scale(device const float* x, device const float* w, device const float* b,"
    " device float* y, constant uint& n, uint i [[thread_position_in_grid]])"
    " { y[i] = x[i] * w[i % n] + b[i % n]; }",
    {
        "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
        "steps": [
            {
                "kernel": "scale",
                "args": ["x", "weight", "bias", "y", {"uint": "x.shape[1]"}],
                "threads": "x.numel()",
            }
        ],
    },
)
# What each name answers to a problem, attempt by attempt; the last answer again and again.
REPLIES = {
    "steady": {
        "a + b": [add_reply("y[i] = a[i] - b[i];"), add_reply(), add_reply(group_size=256)],
        "self.weight": [SCALED],
    },
    "hasty": {
        "a + b": [add_reply("y[i] = a[i] + c[i];"), add_reply()],
        "self.weight": [SCALED.replace("+ b[i % n]", "")],
    },
    "chatty": {"a + b": ["I would rather talk about it."], "self.weight": ["Certainly!", SCALED]},
}


def answer(request):
    """The prepared reply of whom the request names."""
    messages = request["messages"]
    problem = next(m["content"] for m in messages if m["role"] == "user")
    attempt = sum(message["role"] == "assistant" for message in messages)
    replies = next(texts for part, texts in REPLIES[request["model"]].items() if part in problem)
    return completion(replies[min(attempt, len(replies) - 1)])


def record(folder: Path) -> None:
    """Two problems, three names, one optimisation round, what is best shown to all."""
    with tempfile.TemporaryDirectory() as work, chat_server(answer) as server:
        for name, text in (("add.py", ADD), ("scale.py", SCALE)):
            write_problem(Path(work), text, name)
        prompts = Prompts(HERE / "prompts")
        made = [OpenAIProposer(n, server.url, prompts=prompts, environment={}) for n in REPLIES]
        proposers = named_apart(made)
        settings = Settings(
            models=tuple(proposers), attempts=3, rounds=1, share=True, is_nested=True
        )
        run = Path(work) / "run"
        with begin(find_problems(Path(work)), settings, proposers, run) as store:
            conduct(store, settings, proposers, Means())
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(run / "run.sqlite", folder)


if __name__ == "__main__":
    record(HERE / "swarm")

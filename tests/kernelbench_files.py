"""A small tree in KernelBench's form, of modules of our own, and the same as tables."""

from __future__ import annotations

import json

_HEAD = "import torch\nimport torch.nn as nn\n"
_PLAIN = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, {arguments}):
        return {result}
"""

# (level, number, name) -> code
PROBLEMS = {
    (1, 1, "Square_product_"): f"""{_HEAD}{_PLAIN.format(arguments="a, b", result="a @ b")}
N = 2048 * 2

def get_inputs():
    return [torch.rand(N, N), torch.rand(N, N)]

def get_init_inputs():
    return []
""",
    (1, 23, "Row_shares"): f"""{_HEAD}{_PLAIN.format(arguments="x", result="x.softmax(dim=1)")}
batch_size = 4096
dim = 393216

def get_inputs():
    return [torch.rand(batch_size, dim)]

def get_init_inputs():
    return []
""",
    (1, 43, "Left_out"): f"""{_HEAD}{_PLAIN.format(arguments="x", result="x + 1")}
n: int = 64

def get_inputs():
    return [torch.rand(n)]

def get_init_inputs():
    return []
""",
    (2, 12, "Linear_scaled"): _HEAD
    + '''
class Model(nn.Module):
    """A linear layer whose result is scaled — with a sign beyond ASCII before the sizes."""
    def __init__(self, in_features, out_features, groups):
        super().__init__()
        self.fc = nn.Linear(in_features, out_features)
        self.norm = nn.GroupNorm(groups, out_features)

    def forward(self, x):
        return self.norm(self.fc(x)) * 2

batch_size = 1024  # naïve
in_features = 8192
out_features = 8192
groups = 8

def get_inputs():
    return [torch.rand(batch_size, in_features)]

def get_init_inputs():
    return [in_features, out_features, groups]
''',
    (3, 4, "Fixed_flatten"): _HEAD
    + """
class Model(nn.Module):
    def __init__(self, classes, layers):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8 * 62 * 62, layers[0])
        self.out = nn.Linear(layers[0], classes)

    def forward(self, x):
        return self.out(self.fc(self.conv(x).flatten(1)))

batch_size = 4096
height, width = 64, 64
classes = 1000
layers = [256, 512]

def get_inputs():
    return [torch.rand(batch_size, 3, height, width)]

def get_init_inputs():
    return [classes, layers]
""",
}


def write_clone(folder):
    """The tree as a clone has it."""
    for (level, number, name), code in PROBLEMS.items():
        file = folder / "KernelBench" / f"level{level}" / f"{number}_{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return folder


def rows():
    """The data set's rows; names there begin with the number too."""
    return [
        {"code": code, "level": level, "name": f"{number}_{name}", "problem_id": number}
        for (level, number, name), code in PROBLEMS.items()
    ]


def write_parquet(folder):
    """A table per level, as the data set has it."""
    from pyarrow import Table, parquet

    (folder / "data").mkdir(parents=True)
    for level in (1, 2, 3):
        table = Table.from_pylist([row for row in rows() if row["level"] == level])
        parquet.write_table(table, folder / "data" / f"level_{level}-00000-of-00001.parquet")
    return folder


def write_json_lines(folder):
    """All levels in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "kernelbench.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return file

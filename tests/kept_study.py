"""A made-up study, for looking at reports: many models, three levels, several contexts."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib

from kept_rows import STARTED, Rows, attempt, info, problem

MODELS = ("gpt-5", "o3", "claude-opus-4", "claude-sonnet-4", "deepseek-r1", "gpt-4.1")
CONTEXTS = ("plain", "cuda", "cuda+profile")
OPERATIONS = "softmax layer_norm matmul gelu conv2d rms_norm max_pool attention cumsum mlp".split()

_KERNEL = """#include <metal_stdlib>
using namespace metal;

// y[i] = x[i] * {factor}, one thread per element.
kernel void scale(device const float* x [[buffer(0)]],
                  device float*       y [[buffer(1)]],
                  constant uint&      n [[buffer(2)]],
                  uint i [[thread_position_in_grid]]) {{
  {guard}y[i] = x[i] * {factor}f;
}}
"""


def kernel(number):
    """The kernel of an attempt: each differs a little from the one before."""
    return _KERNEL.format(factor=f"{number}.0", guard="if (i < n) " if number > 1 else "")


def reply(number):
    plan = '{"outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}}, "steps": []}'
    return f"Attempt {number}.\n\n```metal\n{kernel(number)}```\n\n```json\n{plan}\n```\n"


def picture(width=320, height=120):
    """A PNG with a gradient, made without a library."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (60, 90 + x * 120 // width, 180))
        for _ in range(height)
    )

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def study(problems=36, models=MODELS, contexts=CONTEXTS, seed=1):
    """Rows of a study; the same for the same arguments."""
    rng = random.Random(seed)
    png = picture()
    files = {hashlib.sha256(png).hexdigest(): png}
    shown = {"profile-summary.png": next(iter(files))}
    rows = [
        problem(
            f"L{1 + i % 3}/{1 + i // 3}_{OPERATIONS[i % len(OPERATIONS)]}",
            level=1 + i % 3,
            is_control=i == 7,
            control_reason="the outputs are the same whatever the inputs are" if i == 7 else None,
        )
        for i in range(problems)
    ]
    attempts, now = [], STARTED
    for row in rows:
        ease = rng.random()
        for m, model in enumerate(models):
            for c, context in enumerate(contexts):
                made = _job(rng, row.name, model, context, ease - 0.04 * m + 0.06 * c, c, now)
                now = made[-1].started + made[-1].seconds
                attempts += made
                if made[-1].is_accepted and "profile" in context:
                    attempts[-1] = _with(
                        made[-1], artefacts=shown, hints="Stage it in threadgroup."
                    )
    device = "no device (made-up figures)"
    return Rows(
        info(ended=now, device={**info().device, "name": device}), rows, attempts, [], files
    )


def _with(row, **changes):
    from dataclasses import replace

    return replace(row, **changes)


def _job(rng, name, model, context, ease, bonus, now):
    made = []
    for number in range(1, 6):
        is_right = rng.random() < 0.04 + 0.5 * ease
        speed = 2 ** rng.gauss(-0.3 + 0.7 * ease + 0.25 * bonus, 0.6) if is_right else None
        stage = rng.choice(["compile", "verify", "verify", "launch"])
        verdict = {} if is_right else {"stage": stage, "reason": f"{stage}: 3 of 8 are wrong"}
        seconds = rng.uniform(8, 60)
        made.append(
            attempt(
                name,
                model,
                number,
                speed,
                context=context,
                started=now,
                seconds=seconds + 2,
                call_seconds=seconds,
                cost=round(rng.uniform(0.01, 0.09), 4),
                reply=reply(number),
                prompt=f"Replace this module, please.\n\nAttempt {number}.",
                aten_steps=number % 2,
                input_tokens=rng.randint(3000, 9000),
                output_tokens=rng.randint(800, 4000),
                **verdict,
            )
        )
        now += seconds + 2
        if is_right:
            break
    return made

"""Walk through LLVM's bitstream: blocks, and the records in them.

https://llvm.org/docs/BitCodeFormat.html. Only the blocks that are asked for are read: a kernel's
function bodies, most of its bitcode, are stepped over by the length in their header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from metalgen.air.bits import Abbreviation, Bits, BitstreamError, Record

END_BLOCK, ENTER_SUBBLOCK, DEFINE_ABBREV, UNABBREV_RECORD = range(4)
BLOCKINFO = 0
_SETBID = 1


@dataclass(frozen=True, slots=True)
class Block:
    """Where one block's content lies in the file: bytes `start` to `end`."""

    id: int
    start: int
    end: int
    width: int  # of the abbreviation numbers inside


@dataclass
class Standard:
    """Abbreviations that BLOCKINFO defines ahead for all blocks of one kind."""

    by_block: dict[int, list[Abbreviation]] = field(default_factory=dict)

    def read(self, data: bytes, block: Block) -> None:
        """Take over what the BLOCKINFO block `block` defines."""
        bits = Bits(data[block.start : block.end])
        current: list[Abbreviation] | None = None
        while (number := bits.fixed(block.width)) != END_BLOCK:
            if number == UNABBREV_RECORD:
                record = bits.unabbreviated()
                if record.code == _SETBID and record.operands:
                    current = self.by_block.setdefault(record.operands[0], [])
            elif number == DEFINE_ABBREV and current is not None:
                current.append(bits.abbreviation())
            else:
                raise BitstreamError(f"expected a block's number in BLOCKINFO, found {number}")


def enter_block(data: bytes, start: int, end: int, position: int) -> Block:
    """The block whose header is `position` bits after `start`, its abbreviation number read."""
    first = start + position // 8
    header = int.from_bytes(data[first : first + 16], "little") >> position % 8
    block_id = header & 0xFF  # chunks of 8 bits, then of 4; no block or width needs a second
    width = header >> 8 & 0xF
    # The length is a word of its own, at the next multiple of 32 bits.
    length_at = start + (position + 12 + 31) // 32 * 4
    content = length_at + 4
    length = 4 * int.from_bytes(data[length_at:content], "little")
    if block_id > 0x7F or not 2 <= width <= 7 or content + length > end:
        raise BitstreamError(
            f"block {block_id} claims {length} bytes, found {max(0, end - content)}"
        )
    return Block(block_id, content, content + length, width)


# A module's runs of records are short and its inner blocks, the functions, long.
_FIRST_WINDOW = 1024


def items(
    data: bytes, block: Block, standard: Standard, window: int = _FIRST_WINDOW
) -> Iterator[Record | Block]:
    """Records and inner blocks of a block, in order; inner blocks are not read, only located."""
    abbreviations = list(standard.by_block.get(block.id, ()))
    start = block.start
    width_mask = (1 << block.width) - 1
    while start < block.end:
        inner: Block | None
        if data[start] & width_mask == ENTER_SUBBLOCK:
            inner = enter_block(data, start, block.end, block.width)
        else:
            run, inner = _run(data, start, block, abbreviations, window)
            yield from run
        if inner is None:
            return
        yield inner
        start = inner.end


def records(data: bytes, block: Block, standard: Standard) -> Iterator[Record]:
    """Every record of a block, the blocks inside it left out."""
    for item in items(data, block, standard, window=block.end - block.start):
        if isinstance(item, Record):
            yield item


def _run(
    data: bytes, start: int, block: Block, abbreviations: list[Abbreviation], window: int
) -> tuple[list[Record], Block | None]:
    """The records from `start` up to the next inner block or, then without one, the end."""
    while True:
        stop = min(start + window, block.end)
        known = list(abbreviations)
        try:
            bits = Bits(data[start:stop])
            run, ended = read_run(bits, block.width, known)
            inner = None if ended else enter_block(data, start, block.end, bits.position)
        except (BitstreamError, IndexError):
            if stop == block.end:
                raise
            window *= 4  # the run was longer: read it again with more room
            continue
        abbreviations[:] = known
        return run, inner


def read_run(
    bits: Bits, width: int, abbreviations: list[Abbreviation], *, until: int | None = None
) -> tuple[list[Record], bool]:
    """Records up to the block's end (then True), an inner block's header, or code `until`."""
    run: list[Record] = []
    while (number := bits.fixed(width)) != END_BLOCK:
        if number == ENTER_SUBBLOCK:
            return run, False
        if number == UNABBREV_RECORD:
            run.append(bits.unabbreviated())
        elif number == DEFINE_ABBREV:
            abbreviations.append(bits.abbreviation())
            continue
        elif number - 4 < len(abbreviations):
            run.append(bits.abbreviated(abbreviations[number - 4]))
        else:
            raise BitstreamError(f"abbreviation {number} was never defined")
        if run[-1].code == until:
            return run, False
    return run, True

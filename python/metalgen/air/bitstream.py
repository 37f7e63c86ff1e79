"""Read LLVM's bitstream, the bit-packed blocks and records that bitcode is written in.

https://llvm.org/docs/BitCodeFormat.html. A bit cursor in plain Python is slow when it shifts
integers, so a run of bits is turned into a string of "0" and "1", first bit first, once; a number
is then a slice and a look-up. Only the blocks that are asked for are turned into strings: a
kernel's function bodies, most of its bitcode, are stepped over by the length in their header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

END_BLOCK, ENTER_SUBBLOCK, DEFINE_ABBREV, UNABBREV_RECORD = range(4)
BLOCKINFO = 0
_SETBID = 1

_FIXED, _VBR, _ARRAY, _CHAR6, _BLOB = 1, 2, 3, 4, 5
_CHAR6_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"

# Every number of up to 8 bits by its bits, first bit first, for each width.
_NUMBERS = [{f"{n:0{w}b}"[::-1]: n for n in range(1 << w)} if w else {} for w in range(9)]
_SIX = _NUMBERS[6]

Operand = tuple[int, int]  # encoding (0: literal), and its width or value
Abbreviation = tuple[Operand, ...]


class BitstreamError(Exception):
    """The bits end early or make no sense; callers turn it into an error that names the file."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its code, its numbers, and the bytes of its blob, if it has one."""

    code: int
    operands: list[int]
    blob: bytes = b""


@dataclass(frozen=True, slots=True)
class Block:
    """Where one block's content lies in the file: bytes `start` to `end`."""

    id: int
    start: int
    end: int
    width: int  # of the abbreviation numbers inside


class Bits:
    """A cursor over the bits of `data`, whose first byte is at offset `base` of the file."""

    __slots__ = ("bits", "data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bits = f"{int.from_bytes(data, 'little'):0{8 * len(data)}b}"[::-1] if data else ""
        self.position = 0

    def fixed(self, width: int) -> int:
        """A number of `width` bits."""
        start = self.position
        self.position = start + width
        text = self.bits[start : start + width]
        if len(text) != width:
            raise BitstreamError(f"expected {width} more bits, found {len(text)}")
        return int(text[::-1], 2) if text else 0

    def vbr(self, width: int) -> int:
        """A number in chunks of `width` bits, the top bit of each saying that more follow."""
        more = 1 << (width - 1)
        value = shift = 0
        while True:
            chunk = self.fixed(width)
            value |= (chunk & (more - 1)) << shift
            if not chunk & more:
                return value
            shift += width - 1

    def align(self) -> None:
        """Go on to the next multiple of 32 bits."""
        self.position = (self.position + 31) & ~31

    def blob(self) -> bytes:
        """Counted bytes, aligned on both sides."""
        length = self.vbr(6)
        self.align()
        start = self.position // 8
        if start + length > len(self.data):
            raise BitstreamError(f"expected {length} bytes, found {len(self.data) - start}")
        self.position += 8 * length
        self.align()
        return self.data[start : start + length]

    def unabbreviated(self) -> Record:
        """A record without an abbreviation: everything in chunks of 6 bits. The hot loop."""
        bits, position, six = self.bits, self.position, _SIX
        numbers: list[int] = []
        expected = 2  # the code and the count, then as many as the count says
        try:
            while len(numbers) < expected:
                value = six[bits[position : position + 6]]
                position += 6
                if value >= 32:
                    shift = 5
                    value -= 32
                    while (chunk := six[bits[position : position + 6]]) >= 32:
                        value |= (chunk - 32) << shift
                        position += 6
                        shift += 5
                    value |= chunk << shift
                    position += 6
                numbers.append(value)
                if len(numbers) == 2:
                    expected = 2 + value
        except KeyError:
            raise BitstreamError("expected the rest of a record, found the end") from None
        self.position = position
        return Record(numbers[0], numbers[2:])

    def _scalar(self, encoding: int, width: int) -> int:
        if encoding == _FIXED:
            return self.fixed(width)
        if encoding == _VBR:
            return self.vbr(width)
        return _CHAR6_ALPHABET[self.fixed(6)]

    def abbreviated(self, abbreviation: Abbreviation) -> Record:
        """A record laid out as `abbreviation` says."""
        numbers: list[int] = []
        blob = b""
        operands = iter(abbreviation)
        for encoding, value in operands:
            if encoding == 0:
                numbers.append(value)
            elif encoding == _ARRAY:
                element = next(operands)
                numbers.extend(self._scalar(*element) for _ in range(self.vbr(6)))
            elif encoding == _BLOB:
                blob = self.blob()
            else:
                numbers.append(self._scalar(encoding, value))
        if not numbers:
            raise BitstreamError("expected a record's code, found nothing")
        return Record(numbers[0], numbers[1:], blob)

    def abbreviation(self) -> Abbreviation:
        """The definition of an abbreviation, checked so that reading by it always advances."""
        count = self.vbr(5)
        operands: list[Operand] = []
        while len(operands) < count:
            if self.fixed(1):
                operands.append((0, self.vbr(8)))
                continue
            encoding = self.fixed(3)
            if not _FIXED <= encoding <= _BLOB:
                raise BitstreamError(f"expected encoding 1 to 5, found {encoding}")
            width = self.vbr(5) if encoding in (_FIXED, _VBR) else 0
            if width > 64:
                raise BitstreamError(f"expected a width of at most 64 bits, found {width}")
            empty = encoding in (_FIXED, _VBR) and width == 0
            operands.append((0, 0) if empty else (encoding, width))
        _check_arrays(operands)
        return tuple(operands)


def _check_arrays(operands: list[Operand]) -> None:
    """An array comes second to last and its elements take bits: no count can then be endless."""
    for at, (encoding, _) in enumerate(operands):
        is_last_but_one = at == len(operands) - 2
        if encoding == _ARRAY and not (
            is_last_but_one and operands[at + 1][0] in (_FIXED, _VBR, _CHAR6)
        ):
            raise BitstreamError("expected an array's one element type at the end of a record")
        if encoding == _VBR and operands[at][1] == 1:
            raise BitstreamError("expected variable-width chunks of at least 2 bits")


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


def enter_block(data: bytes, start: int, end: int, bits: Bits) -> Block:
    """The block whose header, less its abbreviation number, `bits` (begun at `start`) is at."""
    block_id = bits.vbr(8)
    width = bits.vbr(4)
    bits.align()
    words = bits.fixed(32)
    content = start + bits.position // 8
    if not 2 <= width <= 32 or content + 4 * words > end:
        raise BitstreamError(
            f"block {block_id} claims {4 * words} bytes, found {max(0, end - content)}"
        )
    return Block(block_id, content, content + 4 * words, width)


# A module's runs of records are short and its inner blocks, the functions, long.
_FIRST_WINDOW = 512


def items(
    data: bytes, block: Block, standard: Standard, window: int = _FIRST_WINDOW
) -> Iterator[Record | Block]:
    """Records and inner blocks of a block, in order; inner blocks are not read, only located."""
    abbreviations = list(standard.by_block.get(block.id, ()))
    start = block.start
    while start < block.end:
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
            run, header = _read_run(Bits(data[start:stop]), block, known)
            inner = enter_block(data, start, block.end, header) if header else None
        except BitstreamError:
            if stop == block.end:
                raise
            window *= 4  # the run was longer: read it again with more room
            continue
        abbreviations[:] = known
        return run, inner


def _read_run(
    bits: Bits, block: Block, abbreviations: list[Abbreviation]
) -> tuple[list[Record], Bits | None]:
    """Records up to an inner block, whose header `bits` is then at, or to the block's end."""
    run: list[Record] = []
    while (number := bits.fixed(block.width)) != END_BLOCK:
        if number == ENTER_SUBBLOCK:
            return run, bits
        if number == UNABBREV_RECORD:
            run.append(bits.unabbreviated())
        elif number == DEFINE_ABBREV:
            abbreviations.append(bits.abbreviation())
        elif number - 4 < len(abbreviations):
            run.append(bits.abbreviated(abbreviations[number - 4]))
        else:
            raise BitstreamError(f"abbreviation {number} was never defined")
    return run, None

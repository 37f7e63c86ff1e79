"""A cursor over the bits of LLVM's bitstream: numbers, records and the abbreviations of records.

https://llvm.org/docs/BitCodeFormat.html. Nearly everything in it is a chunk of 6 bits, at any bit
offset. Shifting integers for each is slow in Python, but base64 cuts bytes into groups of 6 bits
at C speed: a run of bits is cut once for each of the six phases that are asked for, and a record
of small numbers is then a slice.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

_FIXED, _VBR, _ARRAY, _CHAR6, _BLOB = 1, 2, 3, 4, 5
_CHAR6_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"
_CHARACTERS = _CHAR6_ALPHABET + bytes(256 - len(_CHAR6_ALPHABET))
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = bytes.maketrans(_BASE64, bytes(range(64)))
_MASKS = [(1 << width) - 1 for width in range(9)]
_CONTINUED = bytes(range(32, 64))
_MORE = 32  # the bit of a 6-bit chunk that says another follows

Operand = tuple[int, int]  # encoding (0: literal), and its width or value
Abbreviation = tuple[Operand, ...]


class BitstreamError(Exception):
    """The bits end early or make no sense; callers turn it into an error that names the file."""


class Record:
    """One record: its code, its numbers, and the bytes of its blob, if it has one."""

    __slots__ = ("_count", "_numbers", "_start", "blob", "code")

    def __init__(
        self, code: int, numbers: Sequence[int], start: int = 0, count: int = -1, blob: bytes = b""
    ) -> None:
        self.code = code
        self.blob = blob
        self._numbers = numbers
        self._start = start
        self._count = count

    @property
    def operands(self) -> Sequence[int]:
        """The numbers; most records are never asked for theirs, so they are unpacked only now."""
        if self._count >= 0:
            self._numbers, _ = _join_chunks(self._numbers, self._start, self._count)
            self._count = -1
        return self._numbers


class Bits:
    """A cursor over the bits of `data`, the lowest bit of each byte first."""

    __slots__ = ("_number", "_phases", "data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.end = 8 * len(data)
        self._number = int.from_bytes(data, "little")
        self._phases: list[bytes | None] = [None] * 6

    def _sixes(self, phase: int) -> bytes:
        """The bits from number `phase` on as groups of 6, one per byte; zeros after the end."""
        sixes = self._phases[phase]
        if sixes is None:
            size = -(-len(self.data) // 3) * 3  # what base64 needs not to pad
            reverse = (self._number >> phase).to_bytes(size, "big")
            sixes = base64.b64encode(reverse).translate(_VALUES)[::-1]
            self._phases[phase] = sixes
        return sixes

    def fixed(self, width: int) -> int:
        """A number of `width` bits."""
        start = self.position
        self.position = position = start + width
        if position > self.end:
            raise BitstreamError(f"expected {position - self.end} more bits, found the end")
        if width <= 6:
            sixes = self._phases[start % 6] or self._sixes(start % 6)
            return sixes[start // 6] & _MASKS[width]
        first = start // 8
        around = int.from_bytes(self.data[first : first + width // 8 + 2], "little")
        return around >> (start % 8) & ((1 << width) - 1)

    def vbr(self, width: int) -> int:
        """A number in chunks of `width` bits, the top bit of each saying that more follow."""
        more = 1 << (width - 1)
        value = shift = 0
        while (chunk := self.fixed(width)) & more:
            value |= (chunk - more) << shift
            shift += width - 1
        return value | chunk << shift

    def numbers(self, count: int) -> Sequence[int]:
        """`count` numbers in chunks of 6 bits."""
        start = self.position
        if count > (self.end - start) // 6:
            raise BitstreamError(f"expected {count} numbers, found the end")
        sixes = self._phases[start % 6] or self._sixes(start % 6)
        at = start // 6
        found, chunks = _join_chunks(sixes, at, count)
        self.position = position = start + 6 * chunks
        if position > self.end:
            raise BitstreamError(f"expected {count} numbers, found the end")
        return found

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
        """A record without an abbreviation: code, count and operands in chunks of 6 bits."""
        code, count = self.numbers(2)
        start = self.position
        sixes = self._phases[start % 6] or self._sixes(start % 6)
        first = at = start // 6
        missing = count
        while missing:
            # Every number has one chunk without the bit that says another follows.
            chunks = sixes[at : at + missing]
            if not chunks:
                raise BitstreamError(f"expected {count} operands, found the end")
            at += len(chunks)
            missing -= len(chunks.translate(None, _CONTINUED))
        self.position = position = start + 6 * (at - first)
        if position > self.end:
            raise BitstreamError(f"expected {count} operands, found the end")
        return Record(code, sixes, first, count)

    def _scalar(self, encoding: int, width: int) -> int:
        if encoding == _FIXED:
            return self.fixed(width)
        if encoding == _VBR:
            return self.vbr(width)
        return _CHAR6_ALPHABET[self.fixed(6)]

    def _array(self, encoding: int, width: int) -> Sequence[int]:
        count = self.vbr(6)
        if encoding == _VBR and width == 6:
            return self.numbers(count)
        if count * max(width, 1) > self.end - self.position:
            raise BitstreamError(f"expected {count} elements, found the end")
        if encoding == _CHAR6:
            return self._characters(count)
        if encoding != _FIXED:
            return [self._scalar(encoding, width) for _ in range(count)]
        if width == 8:
            return self.fixed(8 * count).to_bytes(count, "little")
        together, mask = self.fixed(width * count), (1 << width) - 1
        return [together >> at & mask for at in range(0, width * count, width)]

    def _characters(self, count: int) -> bytes:
        start = self.position
        self.position = position = start + 6 * count
        if position > self.end:
            raise BitstreamError(f"expected {count} characters, found the end")
        sixes = self._phases[start % 6] or self._sixes(start % 6)
        return sixes[start // 6 : start // 6 + count].translate(_CHARACTERS)

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
                numbers.extend(self._array(*element))
            elif encoding == _BLOB:
                blob = self.blob()
            else:
                numbers.append(self._scalar(encoding, value))
        if not numbers:
            raise BitstreamError("expected a record's code, found nothing")
        return Record(numbers[0], numbers[1:], blob=blob)

    def abbreviation(self) -> Abbreviation:
        """The definition of an abbreviation, checked so that reading by it always advances."""
        start = self.position
        definition = _Definition(self.data[start // 8 : start // 8 + 128], start % 8)
        operands: list[Operand] = []
        for _ in range(definition.vbr(5)):
            if definition.fixed(1):
                operands.append((0, definition.vbr(8)))
                continue
            encoding = definition.fixed(3)
            if not _FIXED <= encoding <= _BLOB:
                raise BitstreamError(f"expected encoding 1 to 5, found {encoding}")
            width = definition.vbr(5) if encoding in (_FIXED, _VBR) else 0
            if width > 64:
                raise BitstreamError(f"expected a width of at most 64 bits, found {width}")
            empty = encoding in (_FIXED, _VBR) and width == 0
            operands.append((0, 0) if empty else (encoding, width))
        _check_arrays(operands)
        self.position = start - start % 8 + definition.position
        return tuple(operands)


class _Definition:
    """A cursor over few bits: shifting a small number beats cutting, which serves longer runs."""

    __slots__ = ("end", "number", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.number = int.from_bytes(data, "little")
        self.end = 8 * len(data)
        self.position = position

    def fixed(self, width: int) -> int:
        position = self.position
        self.position = position + width
        if self.position > self.end:
            raise BitstreamError("expected the rest of an abbreviation, found the end")
        return self.number >> position & _MASKS[width]

    def vbr(self, width: int) -> int:
        more = 1 << (width - 1)
        value = shift = 0
        while (chunk := self.fixed(width)) & more:
            value |= (chunk - more) << shift
            shift += width - 1
        return value | chunk << shift


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


def _join_chunks(sixes: Sequence[int], at: int, count: int) -> tuple[Sequence[int], int]:
    """`count` numbers whose chunks begin at `at`, and how many chunks those are."""
    plain = sixes[at : at + count]
    if not count or max(plain) < _MORE:
        return plain, count
    start = at
    numbers: list[int] = []
    for _ in range(count):
        value = sixes[at]
        at += 1
        if value >= _MORE:
            value -= _MORE
            shift = 5
            while (chunk := sixes[at]) >= _MORE:
                value |= (chunk - _MORE) << shift
                shift += 5
                at += 1
            value |= chunk << shift
            at += 1
        numbers.append(value)
    return numbers, at - start

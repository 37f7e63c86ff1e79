"""Which stretches of memory hold what all lanes access at offsets known when translating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalgen.software.simdgroup.shapes import WIDTH

_WIDEST_HOLE = 4  # elements between two accesses that are read along
_MOST_PIECES = 16  # for scalars; gathers are no slower beyond


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements side by side, from `offset` (bytes from the base) on."""

    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Cover:
    """Pieces that hold part p of lane l in place `places[p][l]`, of all pieces' elements in a row.

    `is_whole` if every element belongs to exactly one part of one lane.
    """

    pieces: tuple[Piece, ...]
    places: tuple[tuple[int, ...], ...]
    is_whole: bool


def cover(offsets: Sequence[int], size: int, parts: int, *, holes: bool) -> Cover | None:
    """Pieces for `parts` elements of `size` bytes at each lane's offset; None if there are too
    many. With `holes` they may take in what lies between two elements.
    """
    addresses = [[offset + size * part for offset in offsets] for part in range(parts)]
    distinct = sorted({address for part in addresses for address in part})
    if any((address - distinct[0]) % size for address in distinct):
        return None
    pieces = _pieces(distinct, size, _WIDEST_HOLE * size if holes else 0)
    if len(pieces) > _MOST_PIECES * min(parts, 2):
        return None
    place_of: dict[int, int] = {}
    end = 0
    for piece in pieces:
        for index in range(piece.count):
            place_of[piece.offset + index * size] = end + index
        end += piece.count
    places = tuple(tuple(place_of[address] for address in part) for part in addresses)
    return Cover(tuple(pieces), places, end == len(distinct) == parts * WIDTH)


def _pieces(distinct: Sequence[int], size: int, hole: int) -> list[Piece]:
    """Stretches without wide holes, as pieces whose lengths are powers of two; they may overlap."""
    stretches = [[distinct[0], distinct[0]]]
    for address in distinct[1:]:
        if address - stretches[-1][1] - size > hole:
            stretches.append([address, address])
        stretches[-1][1] = address
    pieces = []
    for first, last in stretches:
        count = (last - first) // size + 1
        longest = 1 << (count.bit_length() - 1)
        pieces.append(Piece(first, longest))
        if longest < count:
            pieces.append(Piece(last - (longest - 1) * size, longest))
    return pieces

"""One measured figure, what it is held against, and the table they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure should be: at most `bound`, or `at_least`. `of_ratio`: what is bounded is figure ÷ peer's figure."""

    bound: float
    at_least: bool = False
    of_ratio: bool = False

    def holds(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound

    def text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.bound)}{'×' if self.of_ratio else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """`peer` is the same figure of another program, measured in the same run; `None` where there is none."""

    what: str
    value: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    budget: Budget | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer if self.peer else None

    @property
    def met(self) -> bool | None:
        """None without a budget, or where its peer is missing."""
        if self.budget is None:
            return None
        judged = self.ratio if self.budget.of_ratio else self.value
        return None if judged is None else self.budget.holds(judged)

    def document(self) -> dict[str, Any]:
        """The figure as `--json` prints it."""
        return {
            "what": self.what,
            "figure": self.value,
            "unit": self.unit,
            "peer": self.peer,
            "peer_name": self.peer_name,
            "ratio": self.ratio,
            "budget": self.budget.text() if self.budget else None,
            "met": self.met,
        }


_HEADER = ("WHAT", "FIGURE", "PEER", "RATIO", "BUDGET", "MET")
_MET = {True: "yes", False: "NO", None: ""}


def cells(figure: Figure) -> tuple[str, ...]:
    peer = f"{number(figure.peer)} {figure.peer_name}" if figure.peer is not None else ""
    ratio = f"{figure.ratio:.2g}×" if figure.ratio is not None else ""
    budget = figure.budget.text() if figure.budget else ""
    return (figure.what, f"{number(figure.value)} {figure.unit}", peer, ratio, budget, _MET[figure.met])


def table(figures: Sequence[Figure]) -> str:
    return aligned([_HEADER, *map(cells, figures)])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table with these rows of equal length, the first of which is its header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def number(value: float) -> str:
    """Three digits that count: 0.0123, 4.56, 78.9, 1,234,567."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"

"""Where a table search stands: plain numbers, so that it can be written down after every step and taken up again."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


class SearchError(ValueError):
    """A search that cannot start or go on; the message says why and what to do."""


@dataclass
class SearchState:
    """Everything that decides how the search goes on."""

    config: str
    """Digest of configuration and layout; a state only fits the search it came from."""
    cells: np.ndarray
    """uint8[nr_cells]: the best table so far."""
    start: str
    """Name of the table the search started from."""
    evaluations: int = 0
    """Rollouts done."""
    tried: int = 0
    """Tables measured or given up early."""
    accepted: int = 0
    level: int = 0
    """Of the groups being moved; see `moves.levels_of`."""
    queue: list[list[int]] | None = None
    """[group, action] of the moves of this level that are still to do; None: not drawn up yet."""
    improved: bool = False
    """Whether this pass over the levels has found anything."""
    known: list[str] = field(default_factory=list)
    """Digests of the tables measured; none is measured twice."""
    genes: list[int] = field(default_factory=list)
    """Cells that a population search varies."""
    ranks: list[list[float]] = field(default_factory=list)
    """What a population search was told, by generation."""

    def to_json(self) -> dict[str, Any]:
        """JSON-plain form."""
        return {**asdict(self), "cells": base64.b64encode(self.cells.tobytes()).decode()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> SearchState:
        """The state that `to_json` wrote.

        Raises:
            SearchError: something is missing or of another form.
        """
        try:
            cells = np.frombuffer(base64.b64decode(plain["cells"], validate=True), np.uint8).copy()
            return cls(**{**plain, "cells": cells})
        except (KeyError, TypeError, ValueError):
            raise SearchError("the saved search state is damaged; delete it and search again") from None

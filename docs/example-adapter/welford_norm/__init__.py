"""Batch normalization of table rows by Welford's algorithm, forward alone."""

from __future__ import annotations

from typing import Any

import numpy as np

__version__ = "1.0.0"


class WelfordNorm:
    """Normalizes rows, shape (N, C), column by column: by themselves in `fit`, by what was kept in `apply`."""

    def __init__(self, columns: int, *, keep: float, eps: float, dtype: str) -> None:
        self.keep, self.eps, self.dtype = keep, eps, dtype
        self.gain, self.shift = np.ones(columns, dtype), np.zeros(columns, dtype)
        self.mean, self.variance = np.zeros(columns, dtype), np.ones(columns, dtype)

    def fit(self, rows: Any) -> Any:
        """Return the rows normalized by their own statistics, which the kept ones move towards."""
        mean, squares = np.zeros_like(self.mean), np.zeros_like(self.mean)
        for count, row in enumerate(rows, start=1):
            step = row - mean
            mean = mean + step / self.mean.dtype.type(count)
            squares = squares + step * (row - mean)
        if len(rows):
            variance = squares / self.mean.dtype.type(len(rows))
            keep = self.mean.dtype.type(self.keep)
            self.mean = keep * self.mean + (1 - keep) * mean
            self.variance = keep * self.variance + (1 - keep) * variance
            return self.normalize(rows, mean, variance)
        return rows.copy()

    def apply(self, rows: Any) -> Any:
        """Return the rows normalized by the kept statistics."""
        return self.normalize(rows, self.mean, self.variance)

    def normalize(self, rows: Any, mean: Any, variance: Any) -> Any:
        """Return (rows - mean) / sqrt(variance + eps), times the gain, plus the shift."""
        return (rows - mean) / np.sqrt(variance + self.mean.dtype.type(self.eps)) * self.gain + self.shift

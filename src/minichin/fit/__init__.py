"""Three estimates of the compute-optimal frontier: one signature, one shape of result."""

from minichin.fit.result import (
    WARNINGS,
    EnvelopeFit,
    Fit,
    FitError,
    Interval,
    IsoflopFit,
    ParametricFit,
    Valley,
)

__all__ = [
    "WARNINGS",
    "EnvelopeFit",
    "Fit",
    "FitError",
    "Interval",
    "IsoflopFit",
    "ParametricFit",
    "Valley",
]

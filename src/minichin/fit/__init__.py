"""Three estimates of the compute-optimal frontier: one signature, one shape of result."""

from minichin.fit.envelope import fit_envelope
from minichin.fit.isoflop import fit_isoflop
from minichin.fit.parametric import fit_parametric
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
    "fit_envelope",
    "fit_isoflop",
    "fit_parametric",
]

"""Coursework: a laboratory whose law is hidden, one for each student."""

from minichin.course.lab import Lab, LabError, Run, hidden_law, ticket

__all__ = ["Lab", "LabError", "Run", "hidden_law", "ticket"]

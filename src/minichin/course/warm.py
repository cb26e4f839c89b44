"""Imports what grading needs, once, in the process from which all grading processes come."""

import os
import warnings

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import nbgrader.converters  # noqa: F401

    import minichin.course.execute
    import minichin.course.nb  # noqa: F401

"""Graded coursework: assignments released from one source, a laboratory with hidden laws, and a grader.

`from minichin.course import Lab, check` is what the assignments use; releasing and grading need the extra
`course` (nbgrader) and are imported only by their commands.
"""

from minichin.course import check as check
from minichin.course.lab import Lab as Lab
from minichin.course.lab import LabError as LabError

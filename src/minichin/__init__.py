"""minichin: the Chinchilla scaling result in miniature.

Importing this package has no effects and imports nothing heavy; each module is imported by name.
"""

__version__ = "0.1.0"

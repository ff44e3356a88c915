"""Where the repository and the helpers are."""

from pathlib import Path

LIB = Path(__file__).parent
ROOT = LIB.parents[2]

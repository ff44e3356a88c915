"""The paths of the repository and of the helpers."""

from pathlib import Path

LIB = Path(__file__).parent
ROOT = LIB.parents[2]

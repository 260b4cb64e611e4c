"""Fixtures of whole-program tests."""

from programfixtures import program, sr, src

__all__ = ["program", "sr", "src"]

"""Fixtures of whole-program tests."""

from programfixtures import program

__all__ = ["program"]

"""Fixtures of whole-program tests."""

from programfixtures import program, small_disk, sr, src, user

__all__ = ["program", "small_disk", "sr", "src", "user"]

from programfixtures import program, sr

__all__ = ["program", "sr"]

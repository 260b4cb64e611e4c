from programfixtures import program, src

__all__ = ["program", "src"]

"""Writes Borg's commands and options, as its own parser knows them, to standard output.

Run it with the Python of an environment that has Borg 1.4:

    python -m venv /tmp/borg && /tmp/borg/bin/pip install borgbackup==1.4.5
    /tmp/borg/bin/python tests/borg/make_options.py > tests/borg/data/borg-1.4.5-options.json
"""

import argparse
import json
import os
import sys

from borg.archiver import Archiver

import borg


def options_of(parser):
    return [
        {
            "flags": action.option_strings,
            "dest": None if action.option_strings else action.dest,
            "metavar": action.metavar,
            "nargs": nargs_of(action),
            "choices": sorted(action.choices) if action.choices else None,
            "default": plain(action.default),
        }
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
    ]


def nargs_of(action):
    """How many words it takes: a number, or argparse's letter."""
    if action.nargs is not None:
        return action.nargs
    takes_none = (argparse._StoreConstAction, argparse._HelpAction, argparse._VersionAction)
    return 0 if isinstance(action, takes_none) else 1


def plain(value):
    """A default as JSON; what is of a class of Borg's is left to its text."""
    if callable(value):
        return None
    if isinstance(value, str):
        return value.replace(os.path.expanduser("~"), "~")
    if value is None or isinstance(value, bool | int | list):
        return value
    return list(value) if isinstance(value, tuple) else None


def commands_of(parser, name=""):
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for word, sub in action.choices.items():
            yield from commands_of(sub, f"{name} {word}".strip())
    if not inner or not name:
        yield name, options_of(parser)


def own(options, common):
    return [one for one in options if not one["flags"] or not common.issuperset(one["flags"])]


def rows(options):
    return "[\n" + ",\n".join(f"   {json.dumps(one)}" for one in options) + "\n  ]" if options else "[]"


if __name__ == "__main__":
    everything = dict(sorted(commands_of(Archiver(prog="borg").build_parser())))
    # as the main parser has them, for it knows their defaults; those of commands take its
    flags = {word for one in everything["version"] for word in one["flags"]}
    assert all(flags <= {word for one in options for word in one["flags"]} for options in everything.values())
    common = [one for one in everything[""] if flags.issuperset(one["flags"])]
    commands = ",\n".join(
        f"  {json.dumps(name)}: {rows(own(options, flags))}" for name, options in everything.items()
    )
    sys.stdout.write(f'{{\n "version": "{borg.__version__}",\n "common": {rows(common)},\n')
    sys.stdout.write(f' "commands": {{\n{commands}\n }}\n}}\n')

import fnmatch
import json
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.archive.pattern_files import MAX_LINE, PatternBuilder
from strongroom.archive.patterns import Decision, PatternMatcher
from strongroom.errors import CommandError

CORPUS = json.loads(Path(__file__).with_name("pattern_corpus.json").read_text())

TAKE, SKIP, PRUNE = Decision(True, True), Decision(False, True), Decision(False, False)


def built(*rules: tuple[str, str]) -> PatternBuilder:
    builder = PatternBuilder()
    for option, text in rules:
        builder.add(option, text)
    return builder


def test_every_answer_is_borgs():
    wrong = []
    for case in CORPUS["cases"]:
        builder = built(*map(tuple, case["rules"]))
        include = case["include"]
        matcher = builder.for_writing() if include is None else builder.for_reading(include)
        for path, answer in zip(CORPUS["paths"], case["answers"], strict=True):
            decision = matcher.decide(path)
            if 2 * decision.include + decision.recurse != int(answer):
                wrong.append((case["rules"], include, path, decision))
        if len(matcher.unmatched_includes()) != case["unmatched"]:
            wrong.append((case["rules"], include, "unmatched", matcher.unmatched_includes()))
    assert not wrong
    assert len(CORPUS["cases"]) > 400


# --- styles ---


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("fm:home/*.o", ["home/a.o", "home/x/y.o", "home/a.o/below"], ["a.o", "home/a.ox"]),
        ("sh:home/*.o", ["home/a.o", "home/a.o/below"], ["home/x/y.o"]),
        ("sh:home/**/*.o", ["home/a.o", "home/x/y.o", "home/x/y/z.o"], ["homes/a.o"]),
        ("sh:home/", ["home/a", "home/a/b"], ["home", "homes"]),
        ("re:\\.o$", ["a.o", "x/a.o"], ["a.o/b", "a.ox"]),
        ("pp:home/user", ["home/user", "home/user/x"], ["home/users", "home"]),
        ("pp:/home/user/", ["home/user", "home/user/x"], ["home/users"]),
        ("pf:home/user", ["home/user"], ["home/user/x", "home"]),
        ("pf:/home/*", ["home/*"], ["home/a"]),
    ],
)
def test_each_style_matches_what_its_manual_says(pattern, yes, no):
    matcher = built(("exclude", pattern)).for_writing()
    assert [path for path in yes if matcher.match(path)] == []
    assert [path for path in no if not matcher.match(path)] == []


def test_names_that_are_not_text_match_as_bytes_and_as_surrogates():
    matcher = built(("exclude", "sh:home/\udcff*"), ("exclude", "pf:\udcfe")).for_writing()
    assert not matcher.match(b"home/\xff\xfe")
    assert not matcher.match("home/\udcff")
    assert not matcher.match(b"\xfe")
    assert matcher.match(b"\xff")


def test_exclude_is_fnmatch_and_pattern_is_shell_by_default():
    assert not built(("exclude", "a*c")).for_writing().match("a/b/c")
    assert built(("pattern", "- a*c")).for_writing().match("a/b/c")
    assert not built(("pattern", "-fm:a*c")).for_writing().match("a/b/c")


# --- decisions ---


def test_minus_still_looks_below_and_bang_and_exclude_do_not():
    assert built(("pattern", "- a")).for_writing().decide("a") == SKIP
    assert built(("pattern", "! a")).for_writing().decide("a") == PRUNE
    assert built(("exclude", "a")).for_writing().decide("a") == PRUNE
    assert built(("pattern", "- pf:a")).for_writing().decide("a") == SKIP
    assert built(("exclude", "pf:a")).for_writing().decide("a") == PRUNE
    assert built(("pattern", "+ a")).for_writing().decide("a") == TAKE
    assert built(("exclude", "a")).for_writing().decide("b") == TAKE


def test_the_first_match_counts_in_command_line_order(tmp_path):
    excludes = tmp_path / "excludes"
    excludes.write_text("home/user/b\n")
    patterns = tmp_path / "patterns"
    patterns.write_text("+ home/user/c\n- home/user/a\n")
    matcher = built(
        ("pattern", "+ home/user/a"),
        ("exclude_from", str(excludes)),
        ("patterns_from", str(patterns)),
        ("exclude", "home"),
    ).for_writing()
    assert matcher.match("home/user/a")
    assert not matcher.match("home/user/b")
    assert matcher.match("home/user/c")
    assert matcher.decide("home/user/d") == PRUNE


def test_no_pattern_at_all_is_trivial_and_takes_everything():
    assert PatternMatcher().is_trivial
    assert PatternMatcher().decide("x") == TAKE
    assert built(("pattern", "R /home")).for_writing().is_trivial
    for rule in (("exclude", "x"), ("exclude", "pf:x"), ("pattern", "+ x")):
        assert not built(rule).for_writing().is_trivial
    assert not PatternBuilder().for_reading(["x"]).is_trivial
    assert not PatternBuilder().for_reading(["pf:x"]).is_trivial


def test_path_arguments_restrict_and_come_after_the_patterns():
    matcher = built(("exclude", "*.o")).for_reading(["home", b"sh:etc/*.d"])
    assert matcher.match("home/a.c")
    assert not matcher.match("home/a.o")
    assert matcher.match("etc/cron.d/x")
    assert matcher.decide("var") == SKIP


def test_path_arguments_that_matched_nothing_are_told():
    matcher = PatternBuilder().for_reading(["home", "sh:etc/*", "pf:nowhere"])
    assert matcher.unmatched_includes() == ["home", "sh:etc/*"]
    matcher.match("home/x")
    assert matcher.unmatched_includes() == ["sh:etc/*"]
    matcher.match(b"etc/x")
    assert matcher.unmatched_includes() == []


# --- files and commands ---


def test_a_pattern_file_has_comments_roots_and_styles(tmp_path):
    file = tmp_path / "patterns"
    file.write_bytes(
        b"# what to keep\n\n   # indented comment\n"
        b"R /home\n  r  /srv/\xff  \nP fm\n- *.o\nP re\n+\t\\.c$\np sh\n! home/**/.cache\r\n"
    )
    builder = built(("patterns_from", str(file)), ("pattern", "R last"), ("pattern", "- a*c"))
    assert builder.roots == [b"/home", b"/srv/\xff", b"last"]
    matcher = builder.for_writing()
    assert matcher.decide("home/x/y.o") == SKIP
    assert matcher.decide("home/x/y.c") == TAKE
    assert matcher.decide("home/x/.cache/y") == PRUNE
    assert matcher.match("a/c")  # the style of the file ends with the file


def test_roots_stand_in_for_path_arguments_when_reading():
    builder = built(("pattern", "R /home"))
    assert not builder.for_reading().match("etc")
    assert builder.for_reading().match("home/x")
    assert builder.for_reading(["etc"]).match("etc")
    assert not builder.for_reading(["etc"]).match("home/x")


def test_an_exclude_file_has_comments_and_styles(tmp_path):
    file = tmp_path / "excludes"
    file.write_text("# caches\n\n  home/*/.cache  \nre:\\.o$\n")
    matcher = built(("exclude_from", str(file))).for_writing()
    assert matcher.decide("home/a/b/.cache") == PRUNE
    assert matcher.decide("x.o") == PRUNE
    assert matcher.match("x.c")


@pytest.mark.parametrize(
    "command", ["", "x", "x a", "+", "-  ", "R", "P", "P xx", "+ xx:a", "- re:(", "- sh:[z-a]"]
)
def test_a_wrong_command_is_refused_with_its_place(tmp_path, command):
    with pytest.raises(CommandError):
        built(("pattern", command))
    if command:
        file = tmp_path / "patterns"
        file.write_text(f"# comment\n{command}\n")
        with pytest.raises(CommandError, match=f"{file}, line 2: "):
            built(("patterns_from", str(file)))


@pytest.mark.parametrize(
    "pattern", ["re:(", "re:[", "re:a{99999999999999999999}", "re:*", "re:" + "(" * 5000 + ")" * 5000, "zz:a"]
)
def test_a_wrong_exclude_is_refused_with_its_place(tmp_path, pattern):
    with pytest.raises(CommandError):
        built(("exclude", pattern))
    file = tmp_path / "excludes"
    file.write_text(f"ok\n{pattern}\n")
    with pytest.raises(CommandError, match="line 2: "):
        built(("exclude_from", str(file)))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for file in (tmp_path / "missing", tmp_path):
        for option in ("exclude_from", "patterns_from"):
            with pytest.raises(CommandError, match=str(file)):
                built((option, str(file)))


def test_a_file_without_lines_is_refused_before_it_fills_memory(tmp_path):
    file = tmp_path / "image"
    file.write_bytes(b"\0" * (MAX_LINE + 1))
    with pytest.raises(CommandError, match="line 1: longer"):
        built(("exclude_from", str(file)))
    with pytest.raises(CommandError, match="line 1: longer"):
        built(("patterns_from", "/dev/zero"))


# --- safety and speed ---


def test_repeated_wildcards_do_not_backtrack_for_hours():
    matcher = built(
        ("exclude", "sh:" + "**/" * 40 + "x"),
        ("exclude", "sh:" + "*" * 60 + "x"),
        ("exclude", "fm:" + "*a" * 30 + "*b"),
    ).for_writing()
    started = time.process_time()
    assert matcher.match("a/" * 300 + "a")
    assert matcher.match("a" * 250)
    assert time.process_time() - started < 5


def test_shell_patterns_compile_without_python_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built(("exclude", "sh:[[a]"), ("exclude", "sh:[a&&b]"), ("exclude", "sh:[a||b~~c]"))


def test_a_great_many_full_paths_cost_one_look_up():
    builder = built(*(("exclude", f"pf:dir/file{n}") for n in range(50_000)))
    matcher = builder.for_writing()
    started = time.process_time()
    for _ in range(2000):
        matcher.match("dir/file")
    assert time.process_time() - started < 2
    assert matcher.decide("dir/file49999") == PRUNE


# --- fingerprints ---


def test_fingerprints_differ_where_decisions_may_and_only_there():
    variants = [
        PatternMatcher(),
        PatternBuilder().for_reading(["a"]),
        PatternBuilder().for_reading(["pf:a"]),
        *(built(rule).for_writing() for rule in (("exclude", "a"), ("exclude", "b"), ("exclude", "pf:a"))),
        *(built(("pattern", f"{verb} a")).for_writing() for verb in "+-!"),
        built(("exclude", "a"), ("exclude", "b")).for_writing(),
        built(("exclude", "b"), ("exclude", "a")).for_writing(),
        built(("exclude", "ab")).for_writing(),
    ]
    assert len({matcher.fingerprint() for matcher in variants}) == len(variants)
    assert all(len(matcher.fingerprint()) == 32 for matcher in variants)
    same = (built(("exclude", "fm:a\udcff")), built(("exclude", "a\udcff")))
    assert same[0].for_writing().fingerprint() == same[1].for_writing().fingerprint()


def test_a_fingerprint_is_the_same_in_every_run():
    matcher = built(("exclude", "*.o"), ("pattern", "+ sh:home/**")).for_writing()
    assert matcher.fingerprint().hex() == "7a2ba4c5fe1a5b96a989b8043d0d9b26f96fdd2e2289ef902d143cc436833ad9"


# --- properties, against definitions written another way ---

names = st.text(st.sampled_from("ab.[]!*?-^\\ \n\udcff"), min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def shell_matches(pattern: list[str], path: list[str]) -> bool:
    """`**` stands for any number of components, all else for one, by the rules of fnmatch within it."""
    if not pattern:
        return True  # the path is what was named, or lies below it
    if pattern[0] == "**":
        return shell_matches(pattern[1:], path) or (bool(path) and shell_matches(pattern, path[1:]))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and shell_matches(pattern[1:], path[1:])


globs = st.lists(
    st.one_of(st.just("**"), st.text(st.sampled_from("ab*?"), min_size=1, max_size=4)), min_size=1, max_size=4
).filter(lambda parts: parts[-1] != "**" and not any("**" in part and part != "**" for part in parts))
plain_paths = st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=3), min_size=1, max_size=5)


@given(globs, plain_paths)
def test_shell_style_is_component_wise(parts, path):
    matcher = built(("exclude", "sh:" + "/".join(parts))).for_writing()
    assert matcher.match("/".join(path)) != shell_matches(parts, path)


@given(paths, paths)
def test_prefix_style_is_the_path_and_what_is_below(named, below):
    matcher = built(("exclude", f"pp:{named}")).for_writing()
    assert not matcher.match(named)
    assert not matcher.match(f"{named}/{below}")
    assert matcher.match(f"{named}{'x'}")


@given(paths, paths)
def test_full_style_is_the_path_alone(named, asked):
    matcher = built(("exclude", f"pf:/{named}")).for_writing()
    assert matcher.match(asked) == (asked != named)


@given(st.text(max_size=30), paths)
def test_any_pattern_is_taken_or_refused_and_never_fails_later(text, path):
    try:
        matcher = built(("exclude", text), ("pattern", f"+ x{text}")).for_writing()
    except CommandError:
        return
    assert matcher.decide(path) in (TAKE, SKIP, PRUNE)

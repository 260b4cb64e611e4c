"""Writes pattern_corpus.json: what Borg's own matcher answers to many patterns and paths.

    PATH/TO/BORG'S/python tests/archive/pattern_corpus.py > tests/archive/pattern_corpus.json

{"paths": [path, …], "cases": [case, …]}, each case {"rules": [[option, text], …], "include": [PATH, …]
or null for `create`, "answers": a digit a path, 2 for "taken" plus 1 for "recurse", "unmatched": how many
PATHs matched nothing}.
"""

# ruff: noqa: E501
import json
import random
import sys

PATHS = [
    "etc", "etc/passwd", "etc/ssl/certs/a.pem", "home", "home/user", "home/user/.cache", "home/user/.cache/x",
    "home/user/file.o", "home/user/src/file.o", "home/user/src/file.c", "home/other/.cache", "home/[a]", "a",
    "a/b", "a/b/c", "a/b/c/d", "ab", "a-b", "a^b", "a\\b", "a b", "new\nline", "dir/new\nline/x", "*", "a*", "?",
    "\udcff", "home/\udcfe/x", "été", "e\u0301te\u0301", "tmp", "tmp/x.tmp", "tmp.d/x", "x/tmp/y", "x/y/tmp",
    "srv/a.1", "srv/a.2/b", "srv", "var/cache", "var/cache/apt/pkgcache.bin", "!x", "#x", "]", "[", "-", "A/B",
    ".hidden", "x/.hidden", "trailing.", "a.b.c",
]  # fmt: skip

TEXTS = [
    "etc", "/etc", "etc/", "/etc/", "etc/*", "home/*/.cache", "home/*/.cache/", "/home/*", "**/*.o", "*.o", "*",
    "**", "**/", "*/", "/", ".", "", "./a", "a/../home", "a//b", "a/b/", "a/?", "?", "[ab]", "[!a]", "[^a]", "[]]",
    "[!]]", "[", "[a", "a[-]b", "[a-z]*", "home/[[]a]", "a[\\]b", "a\\b", "*tmp*", "**/tmp", "**/tmp/", "tmp/**",
    "**/**/tmp", "x/**/y", "x/**", "***", "***/tmp", "srv/a.[12]", "a*b", "a**b", "**/.hidden", "new*", "new?line",
    "\udcff", "home/?/x", "été", "e\u0301te\u0301", "[é]t?", "a/b/c", "home/user/src", "/a/", "//a", "a/.", "..",
    "[&&a]", "[a||b]", "[~~a]", "a[[a]", "{a,b}", "(a)", "a|b", "a+", "^a", "a$", "\\*", "\\a", "#x", "!x",
    "[!!]x", "A", "a.b.c", "*.*.*", "home/*r/*/file.?",
]  # fmt: skip

REGEXES = [
    "^etc", "passwd$", r"\.o$", "a|b", "^home/[^/]*/\\.cache", "", ".", "^$", "\\n", "(?i)^A", "[^\x00-\x7f]", "/x",
    "^/", "c$", "b/c",
]  # fmt: skip


def main() -> None:
    from borg.patterns import (
        PatternMatcher,
        ShellPattern,
        parse_exclude_pattern,
        parse_patternfile_line,
    )

    def ask(rules, include):
        patterns, roots = [], []
        for option, text in rules:
            if option == "exclude":
                patterns.append(parse_exclude_pattern(text))
            else:
                parse_patternfile_line(text, roots, patterns, ShellPattern)
        matcher = PatternMatcher(fallback=True)
        matcher.add_inclexcl(patterns)
        if include is not None:
            matcher.add_includepaths(include)
        answers = ""
        for path in PATHS:
            taken = matcher.match(path)
            answers += str(2 * taken + matcher.recurse_dir)
        unmatched = len(matcher.get_unmatched_include_patterns())
        return {"rules": rules, "include": include, "answers": answers, "unmatched": unmatched}

    def any_text():
        style = chance.choice(["", "", "fm:", "sh:", "pp:", "pf:", "re:"])
        return style + chance.choice(REGEXES if style == "re:" else TEXTS + PATHS)

    def any_rule():
        if chance.random() < 0.4:
            return ["exclude", any_text()]
        return ["pattern", chance.choice("+-!") + chance.choice(["", " "]) + any_text()]

    chance = random.Random(20261123)
    cases = []
    for style in ("fm", "sh", "pp", "pf"):
        cases += [([["exclude", f"{style}:{text}"]], None) for text in TEXTS]
    cases += [([["pattern", f"- re:{text}"]], None) for text in REGEXES if text]
    for _ in range(250):
        rules = [any_rule() for _ in range(chance.randrange(5))]
        rules = [rule for rule in rules if rule[0] == "exclude" or rule[1][1:].strip()]
        include = [any_text() for _ in range(chance.randrange(3))] if chance.random() < 0.6 else None
        cases.append((rules, include))
    lines = ",\n".join(json.dumps(ask(rules, include)) for rules, include in cases)
    sys.stdout.write(f'{{"paths": {json.dumps(PATHS)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()

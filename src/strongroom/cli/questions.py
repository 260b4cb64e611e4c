"""Yes/no questions, and the environment variables that answer them."""

import sys
from typing import TextIO

from strongroom.cli import identity
from strongroom.cli.environment import Environment
from strongroom.cli.output import Output

YES = frozenset({"Yes", "YES", "yes", "Y", "y", "1"})
NO = frozenset({"No", "NO", "no", "N", "n", "0"})


class Questions:
    def __init__(self, environment: Environment, output: Output, stdin: TextIO | None = None) -> None:
        self._environment = environment
        self._output = output
        self._stdin = stdin

    def confirm(self, question: str, variable: str) -> bool:
        """Yes or no, once; what is neither counts as no. `variable` is a name without prefix."""
        return self._ask(question, variable, YES, retry=False)

    def confirm_danger(self, question: str, variable: str) -> bool:
        """The same, but only the word YES is a yes."""
        return self._ask(question, variable, frozenset({"YES"}), retry=False)

    def ask(self, question: str, variable: str | None = None) -> bool:
        """Asks until the answer is yes or no; no answer is a no."""
        return self._ask(question, variable, YES, retry=True)

    def _ask(self, question: str, variable: str | None, accepted: frozenset[str], *, retry: bool) -> bool:
        msgid = identity.variable(variable) if variable else None
        self._output.question("prompt", question, prompt=True, msgid=msgid)
        answer = self._environment.get(variable) if variable else None
        if answer is not None and variable is not None:
            name = self._environment.name_of(variable)
            self._output.question("env_answer", f"{answer} (from {name})", msgid=msgid, env_var=name)
        while True:
            if answer is None:
                answer = self._read()
            if answer is None or answer in NO | {""}:
                if not retry:  # else nothing ends by it
                    self._output.question("accepted_false", "Aborting.", msgid=msgid)
                return False
            if answer in accepted:
                return True
            self._output.question("invalid_answer", "Invalid answer" + (", aborting." if not retry else "."))
            if not retry:
                return False
            self._output.question("prompt_retry", question, prompt=True, msgid=msgid)
            answer = None

    def _read(self) -> str | None:
        """A line from standard input without its end; None at the end of input."""
        stream = self._stdin if self._stdin is not None else sys.stdin
        if stream is None or stream.closed:
            return None
        try:
            line = stream.readline()
        except UnicodeDecodeError:
            return "?"
        return line.rstrip("\r\n") if line else None

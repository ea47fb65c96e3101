"""Pages of the documentation, run as a reader would: every command typed in order, what is shown compared.

```console blocks: lines after `$ ` are typed, after `> ` belong to the command before; what follows is what it prints.
A block's caption names its terminal. ```pycon blocks: a Python session, as doctest has them. In both `...` stands for
what differs from run to run. Blocks of other languages are shown, not run.
"""

import doctest
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"^```(?:\{code-block\} )?(?P<language>console|pycon)\n(?::caption: (?P<terminal>[^\n]+)\n\n?)?(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SERVES = re.compile(r"uraniborg (serve|worker)\b")  # a command that goes on until Ctrl-C
MARK = "--- done: "


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what the page says it prints; terminal: "" for the reader's first. line: where it stands."""

    language: str
    terminal: str
    command: str
    shown: str
    line: int


def steps(page: str) -> Iterator[Step]:
    """The steps of a page, in order."""
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) == len(re.findall(r"^```.*(?:console|pycon)$", page, re.MULTILINE)), "a block is passed over"
    for block in blocks:
        line, terminal = page[: block.start()].count("\n") + 2, block["terminal"] or ""
        if block["language"] == "pycon":
            yield Step("pycon", terminal, block["body"], "", line)
            continue
        command: list[str] = []
        shown: list[str] = []
        for text in block["body"].splitlines():
            if text.startswith("$ ") and command:
                yield Step("console", terminal, "\n".join(command), "\n".join(shown), line)
                command, shown = [], []
            if text.startswith("$ ") or (command and not shown and re.match(">( |$)", text)):
                command.append(text[2:])
            else:
                assert command, f"line {line}: a console block begins with a command"
                shown.append(text)
        yield Step("console", terminal, "\n".join(command), "\n".join(shown), line)


@dataclass
class Reader:
    """Somebody who reads a page and types what it says, in an empty folder.

    env: variables of their terminals. typed: what a page says and what is typed instead, a port for example.
    """

    folder: Path
    env: Mapping[str, str]
    typed: Mapping[str, str] = field(default_factory=dict)
    terminals: dict[str, "Terminal"] = field(default_factory=dict)

    def follow(self, page: Path) -> int:
        """Run every step of the page; how many there were. AssertionError tells the line that is not true."""
        text = page.read_text(encoding="utf-8")
        for said, instead in self.typed.items():
            text = text.replace(said, instead)
        python: dict[str, Any] = {}
        found = list(steps(text))
        for step in found:
            where = f"{page.name}, the block at line {step.line}"
            if step.language == "pycon":
                run_session(step.command, python, where)
                continue
            if step.terminal not in self.terminals:
                self.terminals[step.terminal] = Terminal(self.folder, self.env)
            terminal = self.terminals[step.terminal]
            if SERVES.search(step.command):
                terminal.start(step.command)
                continue
            status, out = terminal.type(step.command)
            assert status == 0, f"{where}: `{step.command}` ended with {status}:\n{out}"
            assert agrees(step.shown, out), f"{where}: `{step.command}` prints\n{out}\nand the page shows\n{step.shown}"
        return len(found)

    def close(self) -> None:
        for terminal in self.terminals.values():
            terminal.close()


class Terminal:
    """A shell that stays open: what is exported and where one has gone lasts."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            # A test run that a script started in the background ignores SIGINT, and so would all below it.
            ["env", "--default-signal=INT", "bash", "--norc"],
            cwd=folder, env={**env}, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, command: str) -> tuple[int, str]:
        """A command to its end: exit status and what it printed."""
        self.start(f"{command}\nprintf '\\n{MARK}%s\\n' $?")
        assert self.process.stdout is not None
        out: list[str] = []
        for line in self.process.stdout:
            if line.startswith(MARK):
                return int(line.removeprefix(MARK)), "".join(out).rstrip()
            out.append(line)
        raise AssertionError(f"the shell ended at `{command}`:\n{''.join(out)}")

    def start(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Ctrl-C for what still runs, and the end of the shell."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise


def agrees(shown: str, printed: str) -> bool:
    """Whether what a command printed is what the page shows; a page that shows nothing claims nothing."""
    if not shown.strip():
        return True
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return checker.check_output(shown.strip() + "\n", printed.strip() + "\n", flags)


def run_session(text: str, names: dict[str, Any], where: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, where, None, 0)
    test.globs = names  # the sessions of a page are one
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed, _ = runner.run(test, out=told.append, clear_globs=False)
    assert not failed, f"{where}:\n{''.join(told)}"

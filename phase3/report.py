"""How reports are told: as text on a terminal, as JSON, as one page of HTML that asks for nothing from elsewhere."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from phase3.check import Report
from phase3.rules.breach import Breach

COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}
LEVELS = ("error", "warning", "info")


def counted(report: Report) -> str:
    """ "2 errors, 1 warning", or "" """
    words = {"error": "error", "warning": "warning", "info": "remark"}
    counts = [(report.count(level), words[level]) for level in LEVELS]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)


def summary(reports: Sequence[Report]) -> str:
    """One sentence about all files."""
    passed = sum(report.passed for report in reports)
    errors, warnings = (sum(report.count(level) for report in reports) for level in ("error", "warning"))
    return f"{passed} of {len(reports)} files pass: {errors} errors, {warnings} warnings."


def as_json_line(report: Report) -> str:
    """One object a file, on one line."""
    return json.dumps(report.as_json(), ensure_ascii=False, default=str)


def told(finding: Breach, least: str) -> bool:
    return LEVELS.index(finding.level) <= LEVELS.index(least)


def grouped(findings: Sequence[Breach], shown: int = 2) -> list[tuple[Breach, int]]:
    """The first `shown` of those that differ only in keyword and value, with how many follow the last of them."""
    kinds: dict[tuple[object, ...], list[Breach]] = {}
    for finding in findings:
        kind = (finding.level, finding.rule, finding.code, finding.expected, finding.mend, finding.source)
        kinds.setdefault(kind, []).append(finding)
    rows: list[tuple[Breach, int]] = []
    for alike in kinds.values():
        kept = alike if len(alike) <= shown + 1 else alike[:shown]
        rows += [(finding, 0) for finding in kept[:-1]]
        rows.append((kept[-1], len(alike) - len(kept)))
    return rows


def print_report(console: Console, report: Report, *, least: str = "info") -> None:
    """A file and its findings, down to level `least`."""
    verdict = Text("pass" if report.passed else "FAIL", style="green" if report.passed else "bold red")
    head = Text.assemble(verdict, "  ", (report.path, "bold"), "  ", (report.category or "no category", "cyan"))
    if counted(report):
        head.append(f"  {counted(report)}", style="dim")
    console.print(head, soft_wrap=True)
    findings = grouped([finding for finding in report.findings if told(finding, least)])
    if not findings:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", ratio=3)
    for finding, more in findings:
        body = Text(finding.what + (f" And {more} more of this kind." if more else ""))
        if finding.expected:
            body.append(f"\nexpected: {finding.expected}", style="dim")
        if finding.mend:
            body.append(f"\nto mend: {finding.mend}", style="dim")
        table.add_row(Text("  " + finding.level, COLOURS[finding.level]), finding.rule, Text(finding.where), body)
    console.print(table)


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfaf7; --line: #d8d5cc; --accent: #24527a;
  --bad: #9b2c1f; --odd: #80580a; --good: #2b6442; --quiet: #5b6472; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e3da; --paper: #12161c; --line: #333a44; --accent: #8fbbe0;
  --bad: #ee9384; --odd: #dfb968; --good: #8fcaa5; --quiet: #9aa4b2; } }
body { font: 17px/1.55 Georgia, "Times New Roman", serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 3rem auto; padding: 0 1.2rem; }
h1 { font-weight: 400; letter-spacing: .01em; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.figures { display: flex; gap: 2.5rem; flex-wrap: wrap; }
.figures b { display: block; font-size: 1.7rem; font-weight: 400; }
details { border-bottom: 1px solid var(--line); padding: .45rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary span { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .92rem; }
td, th { text-align: left; padding: .4rem .8rem .4rem 0; border-top: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--quiet); }
td:nth-child(-n+2) { overflow-wrap: normal; white-space: nowrap; }
code { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
.error { color: var(--bad); } .warning { color: var(--odd); } .info { color: var(--quiet); }
.pass { color: var(--good); }
small { color: var(--quiet); display: block; }
"""


def as_html(reports: Sequence[Report], *, standard: str, made: datetime) -> str:
    """The reports as a page. standard: its name and version. made: when, UTC."""
    failed = [report for report in reports if not report.passed]
    figures = {
        "files": len(reports), "pass": len(reports) - len(failed), "fail": len(failed),
        "errors": sum(report.count("error") for report in reports),
        "warnings": sum(report.count("warning") for report in reports),
    }  # fmt: skip
    numbers = "".join(f"<div><b>{count:,}</b>{name}</div>" for name, count in figures.items())
    files = "\n".join(_file(report, opened=len(reports) <= 5) for report in [*failed, *_passed(reports)])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Phase 3 check</title><style>{_STYLE}</style></head>
<body><main><h1>Phase 3 check</h1>
<p>{escape(standard)}. Made {made:%Y-%m-%d %H:%M} UTC.</p>
<div class="figures">{numbers}</div>
{_commonest(reports)}
<h2>Files</h2>
{files}
</main></body></html>
"""


def _passed(reports: Sequence[Report]) -> list[Report]:
    return [report for report in reports if report.passed]


def _commonest(reports: Sequence[Report], shown: int = 20) -> str:
    """What is wrong most often: in a delivery of a thousand files one mistake is made a thousand times."""
    if len(reports) < 2:
        return ""
    counts: Counter[tuple[str, str]] = Counter()
    for report in reports:
        counts.update({(f.rule, f.keyword) for f in report.findings if f.level == "error"})
    rows = "".join(
        f"<tr><td><code>{escape(rule)}</code></td><td><code>{escape(keyword)}</code></td>"
        f"<td>{count:,} {'file' if count == 1 else 'files'}</td></tr>"
        for (rule, keyword), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:shown]
    )
    if len(counts) > shown:
        rows += f"<tr><td colspan='3'>and {len(counts) - shown} more</td></tr>"
    return f"<h2>Errors by number of files</h2><table>{rows}</table>" if rows else ""


def _file(report: Report, *, opened: bool) -> str:
    state = "<b class='pass'>pass</b>" if report.passed else "<b class='error'>fail</b>"
    rows = "".join(
        f"<tr><td class='{f.level}'>{f.level}</td><td><code>{escape(f.rule)}</code></td>"
        f"<td><code>{escape(f.where)}</code></td><td>{escape(f.what)}"
        f"{f'<small>Expected: {escape(f.expected)}</small>' if f.expected else ''}"
        f"{f'<small>To mend: {escape(f.mend)}</small>' if f.mend else ''}"
        f"{f'<small>{escape(f.source)}</small>' if f.source else ''}</td></tr>"
        for f in report.findings
    )
    table = (
        "<table><tr><th scope='col'>level</th><th scope='col'>rule</th><th scope='col'>where</th>"
        f"<th scope='col'>what</th></tr>{rows}</table>"
        if rows
        else "<p>Nothing to say.</p>"
    )
    head = f"{state} <code>{escape(report.path)}</code> <span>{escape(report.category)} {counted(report)}</span>"
    return f"<details{' open' if opened else ''}><summary>{head}</summary>{table}</details>"

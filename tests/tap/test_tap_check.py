"""`uraniborg tap check`, as editors and other archives' CI run it."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import uraniborg
from tests.shared import shared_data


def check(*words: str, lines: str) -> Result:
    return CliRunner().invoke(uraniborg.commands, ["tap", "check", *words], input=lines)


def answers(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_query_is_answered_in_order_with_the_place_of_its_mistake() -> None:
    queries = [
        {"query": "SELECT a FROM b", "id": 7},
        {"query": "SELECT a\nFORM b"},
        {"query": "SELECT nope(a) FROM c.d"},
    ]
    result = check(lines="\n".join(map(json.dumps, queries)))
    first, second, third = answers(result)
    assert result.exit_code == 1
    assert first == third == {"ok": True}
    assert (second["ok"], second["line"], second["column"]) == (False, 2, 6)
    assert "FROM" in second["expected"]
    assert "did you mean FROM" in second["error"]


def test_a_line_that_is_no_question_is_told_and_the_rest_is_answered() -> None:
    result = check(lines='x\n{"adql": 1}\n{"query": 5}\n[]\n\n{"query": "SELECT a FROM b"}\n')
    assert [answer["ok"] for answer in answers(result)] == [False] * 4 + [True]
    assert all('"query"' in answer["error"] for answer in answers(result)[:4])


def test_the_whole_gate_is_told_right_from_wrong() -> None:
    gate = shared_data("adql", "gate.jsonl")
    verdicts = [json.loads(line)["valid"] for line in gate.read_text(encoding="utf-8").splitlines()]
    result = check(str(gate), lines="")
    assert [answer["ok"] for answer in answers(result)] == verdicts


def test_all_accepted_is_status_nought_and_a_missing_file_is_status_two(tmp_path: Path) -> None:
    assert check(lines='{"query": "SELECT a FROM b"}').exit_code == 0
    assert check(str(tmp_path / "none"), lines="").exit_code == 2

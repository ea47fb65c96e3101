"""deploy/postgres/fix-pgsphere.sh, on a copy of the extension's installed SQL."""

import difflib
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "postgres" / "fix-pgsphere.sh"
OPERATOR = """CREATE OPERATOR @ (
   LEFTARG    = {left},
   RIGHTARG   = {right},
   PROCEDURE  = subset,
   COMMUTATOR = '{commutator}',
   NEGATOR    = '!<@',
   RESTRICT   = contsel
);
"""


def test_the_two_operators_that_postgresql_refuses_lose_their_commutators_and_nothing_else_changes(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "15" / "extension"
    folder.mkdir(parents=True)
    before = "".join(
        [
            OPERATOR.format(left="spoint", right="scircle", commutator="~"),
            "-- between\n",
            OPERATOR.format(left="bigint", right="smoc", commutator="@>"),
            OPERATOR.format(left="spoint", right="smoc", commutator="@>"),
            "CREATE TYPE smoc;\n",
        ]
    )
    file = folder / "pg_sphere--1.2.0.sql"
    file.write_text(before)
    first = subprocess.run(["sh", SCRIPT, tmp_path], check=True, capture_output=True, text=True).stdout
    assert "left out" in first
    mended = file.read_text()
    changes = [line for line in difflib.ndiff(before.splitlines(), mended.splitlines()) if line[0] in "+-"]
    assert changes == ["-    COMMUTATOR = '@>',", "-    NEGATOR    = '!<@',"] * 2
    assert (folder / "pg_sphere--1.2.0.sql.before-uraniborg").read_text() == before
    again = subprocess.run(["sh", SCRIPT, tmp_path], check=True, capture_output=True, text=True).stdout
    assert "nothing to mend" in again
    assert file.read_text() == mended
    assert sorted(path.name for path in folder.iterdir()) == [file.name, f"{file.name}.before-uraniborg"]

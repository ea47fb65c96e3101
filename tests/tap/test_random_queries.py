"""Random ADQL over HTTP on both databases: never a status that is our fault, and PostgreSQL's own log of what it was
asked, each statement analysed again by PostgreSQL itself: nothing but published tables and what they are asked with.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archive.database.roles import RoleNames
from archive.holdings import catalogues
from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column, Table
from tests.databases import Postgres
from tests.served import Served, beside, served, wait_until
from tests.tap.adql_sky import OBSERVED, OTHER_STARS, STARS
from tests.tap.test_adql_random import QUERIES

ROWS = 500
CIRCLES = Column("s_region", "double", "3", "circle")
UPLOAD = """<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="name" datatype="char" arraysize="*"/><FIELD name="p" datatype="double" arraysize="2" xtype="point"/>
<DATA><TABLEDATA><TR><TD>a</TD><TD>10 20</TD></TR><TR><TD>b</TD><TD>11 21</TD></TR></TABLEDATA></DATA>
</TABLE></RESOURCE></VOTABLE>"""


def values(column: Column) -> list[object]:
    rng = np.random.default_rng(len(column.name))
    match column.name:
        case "ra":
            return list(rng.uniform(0, 360, ROWS))
        case "dec":
            return list(rng.uniform(-90, 90, ROWS))
        case "s_region":
            return [[float(n % 360), 10.0, 1.0] for n in range(ROWS)]
        case "seen":
            return [np.datetime64("2026-01-31T00:00:00", "us")] * ROWS
        case "valid":
            return [n % 2 == 0 for n in range(ROWS)]
        case "name" | "Run":
            return [f"star {n}" for n in range(ROWS)]
    return [None if n % 9 == 0 and column.name != "id" else n % 30 for n in range(ROWS)]


@pytest.fixture(scope="module")
def sky(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The tables of adql_sky, in schema cat; each statement on this database goes to PostgreSQL's log."""
    with served(postgres, tmp_path_factory.mktemp("random")) as archive:
        reader = RoleNames.of(archive.archive.urls).reader
        with archive.archive.engines.begin("writer") as connection:
            for of in (STARS, OBSERVED, OTHER_STARS):
                columns = tuple(CIRCLES if column.name == "s_region" else column for column in of.columns)
                arrays = [pa.array(values(column)) for column in columns]
                schema = arrow_schema(columns)
                rows = pa.Table.from_arrays(arrays, names=schema.names).cast(schema).to_batches()
                table = Table(f"cat.{of.name.partition('.')[2]}", columns)
                catalogues.create(
                    connection, table, rows, archive.archive.sphere, reader=reader, file_id=f"{of.name}.fits"
                )
        wait_until(lambda: archive.query("SELECT TOP 1 id FROM cat.stars2").status_code == 200)
        archive.change(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET log_statement = ''all''', current_database()); END $$"
        )
        with beside(archive, tap__sync_timeout_s=0.5) as logging:  # its connections are made after that
            yield logging


LINE = re.compile(
    r"\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] \S*@(\S*) (.*?) ?"
    r"(LOG|DETAIL|ERROR|STATEMENT|HINT|WARNING|CONTEXT|FATAL|NOTICE): +(.*)"
)


def logged(sky: Served) -> list[str]:
    """The statements that queries sent to this database, from PostgreSQL's log."""
    # The system's server writes beside its socket, the embedded one into its own folder, which it sees as another.
    socket = Path(str(sky.archive.urls.reader.query["host"]))
    ((collected,),) = sky.ask("SELECT pg_current_logfile()")
    file = socket.parents[1] / "db" / collected if collected else socket / "log"
    database = sky.ask("SELECT current_database()")[0][0]
    statements, taken = [], False
    for line in file.read_text(errors="replace").splitlines():
        head = LINE.match(line)
        if head is None:
            if taken:
                statements[-1] += "\n" + line
            continue
        said = re.match(r"(?:statement|execute [^:]+): (.*)", head[4])
        taken = head[1] == database and head[2] == "uraniborg-tap" and head[3] == "LOG" and said is not None
        if taken and said is not None:
            statements.append(said[1])
    return statements


HOUSEKEEPING = re.compile(
    r"BEGIN|ROLLBACK|COMMIT|RESET ROLE|SET TRANSACTION READ (ONLY|WRITE)|SELECT set_config\('\w+', \$\d, true\)"
    r"|SELECT set_config\('statement_timeout', \$\d, true\), set_config\('role', coalesce\(\$\d, 'none'\), true\)"
    r"|SELECT set_config\('statement_timeout', \$\d, false\), set_config\('role', \$\d, false\)"
    r'|CREATE TEMPORARY TABLE "tap_upload_\w+" .*|COPY "tap_upload_\w+" .*|ANALYZE "tap_upload_\w+".*'
    r'|CREATE INDEX .* ON "tap_upload_\w+" .*|SELECT 1|(ROLLBACK TO |RELEASE )?("_pg3_1"|SAVEPOINT "_pg3_1")|',
    re.DOTALL,
)
REFUSED = (psycopg.errors.GroupingError, psycopg.errors.InvalidColumnReference)
USED = """
SELECT DISTINCT n.nspname || '.' || c.relname
FROM pg_rewrite AS w JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE w.ev_class = 'pg_temp.asked'::regclass AND c.oid <> 'pg_temp.asked'::regclass
UNION
SELECT DISTINCT n.nspname || '()'
FROM pg_rewrite AS w JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE w.ev_class = 'pg_temp.asked'::regclass
"""


# Ten thousand take ten minutes and more.
@pytest.mark.parametrize("examples", [150, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_random_queries_are_no_fault_of_ours_and_ask_nothing_but_what_is_published(sky: Served, examples: int) -> None:
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=sky.url, timeout=60) as client:

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @example("SELECT 0 FROM sky.stars WHERE IN_UNIT(ra, 'arcsec') = 2.5 + -(NULL)", False, "csv")
        @given(QUERIES, st.booleans(), st.sampled_from(["csv", "votable", "votable/td", "json"]))
        def ask(query: str, known: bool, form: str) -> None:
            here = query.replace("sky.", "cat.")
            if known:  # most are refused for one name of theirs
                for unknown, name in (("nope", "mag"), ("udf(", "ABS("), ("nowhere", "cat.stars AS s"), ("o.", "")):
                    here = here.replace(unknown, name)
            given_ = {"LANG": "ADQL", "FORMAT": form, "MAXREC": "100", "QUERY": here}
            files = {"t": ("t", UPLOAD, "application/x-votable+xml")} if "tap_upload" in here else None
            upload = {"UPLOAD": "targets,param:t"} if files else {}
            answer = client.post("/tap/sync", data={**given_, **upload}, files=files)
            statuses[answer.status_code] += 1
            assert answer.status_code in (200, 400, 504), f"{answer.status_code}: {answer.text} to {here}"

        ask()
    assert statuses[200] > sum(statuses.values()) / 20
    told = (statement.removeprefix("EXPLAIN (FORMAT JSON) ") for statement in logged(sky))
    asked = {statement for statement in told if not HOUSEKEEPING.fullmatch(statement)}
    assert len(asked) > statuses[200] / 4
    used: set[str] = set()
    with psycopg.connect(sky.dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE tap_upload_targets (c1 text, c2 float8[])")
        for statement in asked:
            known = re.sub(r"\$\d+", "NULL", statement)
            try:
                connection.execute(f"CREATE TEMPORARY VIEW asked AS SELECT * FROM ({known}) AS q".encode())
            except REFUSED:  # as it was, with 400, before anything was read
                continue
            used |= {row[0] for row in connection.execute(USED)}
            connection.execute("DROP VIEW pg_temp.asked")
    tables = {re.sub(r"^pg_temp_\d+", "pg_temp", name) for name in used if not name.endswith("()")}
    functions = {name for name in used if name.endswith("()")}
    published = {one.sql_name.replace('"', "") for one in sky.archive.published.tables().values()}
    assert tables <= {*published, "pg_temp.tap_upload_targets"}
    assert len(tables) >= 2
    assert functions <= {"sphere()", "public()" if sky.archive.sphere.name == "pgsphere" else "sphere()"}

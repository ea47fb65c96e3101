"""The comparison of two sorted streams that reconciling begins with."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from storage.reconcile import compare
from storage.service import StoredObject
from storage.volume import Entry


@given(
    there=st.dictionaries(st.text("abc/", max_size=3), st.integers(0, 2)),
    rows=st.dictionaries(st.text("abc/", max_size=3), st.integers(0, 2)),
)
def test_the_comparison_finds_all_differences_and_only_those(there: dict[str, int], rows: dict[str, int]) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [Entry(key, size, moment) for key, size in sorted(there.items())]
    recorded = [StoredObject(key, "v", size, "0", "0") for key, size in sorted(rows.items())]
    found = {(finding.kind, finding.key) for finding in compare("v", iter(entries), iter(recorded))}
    assert found == (
        {("object_without_row", key) for key in there.keys() - rows.keys()}
        | {("row_without_object", key) for key in rows.keys() - there.keys()}
        | {("wrong_size", key) for key in there.keys() & rows.keys() if there[key] != rows[key]}
    )

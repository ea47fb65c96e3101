"""The store's rows from before versions and copies, brought into its tables of now."""

import pytest
from sqlalchemy import delete, select, text

from archive.database import migrate
from storage import catalogue, rounds
from storage.tables import unsettled
from tests.databases import Postgres

BEFORE = (
    "INSERT INTO arc.file (file_id, version, kind, calib_level, obs_collection, obs_id, obs_publisher_did, source,"
    " object_key, file_name, file_id_encoded, media_type, file_size, sha256, md5, rights, superseded_at)"
    " SELECT 'sky/one.fits', n, 'raw', 1, 'c', 'o', 'ivo://a/ID?sky/one.fits', '/x', 'k' || n, 'one.fits',"
    " 'sky/one.fits', 'image/fits', n, repeat('a', 64), repeat('b', 32), 'public', CASE n WHEN 1 THEN now() END"
    " FROM generate_series(1, 2) n",
    "INSERT INTO store.object (volume, key, size_bytes, sha256, md5, created)"
    " SELECT volume, key, length(key), repeat('a', 64), repeat('b', 32), '2026-01-01 00:00Z'"
    " FROM (VALUES ('posix', 'k1'), ('posix', 'k2'), ('s3', 'k2'), ('posix', '019ab/c3f/result')) t (volume, key)",
)


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_every_object_keeps_its_bytes_and_ingested_ones_get_their_names(postgres: Postgres) -> None:
    with postgres.fresh_database().engines() as engines:
        migrate.upgrade(engines.owner, revision="0004")
        with engines.owner.begin() as connection:
            for statement in BEFORE:
                connection.execute(text(statement))
        migrate.upgrade(engines.owner)
        with engines.owner.begin() as connection:
            held = list(catalogue.list_versions(connection, every=True))
            assert [(each.file_id, each.version, each.media_type, each.size_bytes) for each in held] == [
                ("019ab/c3f/result", 1, None, 16),
                ("sky/one.fits", 2, "image/fits", 2),
                ("sky/one.fits", 1, "image/fits", 2),
            ]
            newest = catalogue.find_version(connection, "sky/one.fits")
            assert newest is not None and newest.crc32c is None and newest.created.year == 2026
            assert [(copy.volume, copy.key, copy.state) for copy in newest.copies] == [
                ("posix", "k2", "ok"),
                ("s3", "k2", "ok"),
            ]
            assert catalogue.next_version(connection, "sky/one.fits") == 3
            # What was there before is looked at by a walk; what comes is noted.
            wanted = rounds.Wanted(2, 1, {"posix": "here", "s3": "here"}, ("posix", "s3"))
            assert rounds.take_unsettled(connection, wanted, before=rounds.now(connection)) is None
            assert len(rounds.walk_on(connection, wanted) or ()) == 3
            connection.execute(delete(unsettled))
            catalogue.put_copies(connection, newest.object_id, ["posix"], "k2")
            assert set(connection.scalars(select(unsettled.c.object_id))) == {newest.object_id}

"""A former release, which brought another PostgreSQL: for tests of what becomes of the data it left."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from archive.database import cluster, embedded
from archive.database.confinement import Binaries
from tests.databases import system_binaries


@contextmanager
def former_release() -> Iterator[str]:
    """Within the block, in this process, the embedded server is the system's PostgreSQL; its major version."""
    binaries = system_binaries("pg_sphere.control")
    version = binaries.parent.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "wheel_binaries", lambda: Binaries(binaries.parent, None))
        for module in (cluster, embedded):
            patch.setattr(module, "MAJOR_VERSION", int(version))
        patch.setattr(cluster, "LOCALE", ("--locale=C",))  # of 15, which has no builtin provider
        yield version

"""Who may have what of the store over its own faces: the archive's rights, for storage.web.authorizer.

A file that the archive holds is read by whoever may download it, and made, changed or removed by nobody here: that is
for ingest, which knows what it is. Of all else in the store (results, pictures, what others keep here) operators have
all, holders of a grant to curate everything may write it, and all may read what the settings say is public. Lists and
the feed name files of whose existence not everybody may know, so they are for operators.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from archive.access import queries as acl
from archive.access.identity import User
from archive.access.rights import ProductFacts, refusal
from archive.access.service import AccessService, utc_now
from archive.access.tokens import InvalidTokenError
from archive.holdings import queries as holdings
from archive.holdings.queries import HeldFile
from archive.holdings.tables import arc
from storage.errors import CatalogueUnavailable, Forbidden, ObjectNotFound, Unauthenticated
from storage.web.authorizer import Action

MAX_VERSIONS = 10_000


class ArchiveAuthorizer:
    """See storage.web.authorizer.Authorizer. public_prefixes: what all may read, of file_ids not in arc.file."""

    def __init__(self, writer: Engine, access: AccessService, public_prefixes: Sequence[str] = ()) -> None:
        self._writer, self._access = writer, access
        self._public = tuple(public_prefixes)

    def allow(self, action: Action, file_id: str | None, headers: Mapping[str, str]) -> str | None:
        """See Authorizer.allow."""
        with _told():
            user = self._access.user_of(headers.get("authorization"))
            held = self._held(file_id) if file_id is not None and action != "administer" else []
            if action == "read" and file_id is not None:
                self._may_read(user, file_id, held)
            elif not (user.is_operator or (action == "write" and self._curates(user))):
                if user.is_anonymous:
                    raise Unauthenticated("this needs an access token, as Bearer or as the password of Basic")
                raise Forbidden(f"{user.name} may not do this: it is for operators{_CURATORS * (action == 'write')}")
            elif held:
                raise Forbidden(f"{file_id} is held by the archive: it changes by ingest and by withdrawal alone")
            return user.name or None

    def _may_read(self, user: User, file_id: str, held: Sequence[HeldFile]) -> None:
        """Who may not know of a file hears what is said of one that is not there."""
        if not held and (user.is_operator or (self._public and file_id.startswith(self._public))):
            return
        if not held or (all(file.superseded for file in held) and not user.is_operator):
            raise ObjectNotFound(f"there is no file {file_id}")
        # Every version must be theirs: which of them is asked for is not known here.
        products = [facts(file) for file in held]
        for product, decision in zip(products, self._access.decide_all(user, products), strict=True):
            if decision.allowed:
                continue
            if product.rights == "secure":
                raise ObjectNotFound(f"there is no file {file_id}")
            told = str(refusal(user, product, decision))
            raise Unauthenticated(told) if user.is_anonymous else Forbidden(told)
        self._access.demand(user, products[-1])  # what is allowed and not public is audited

    def _held(self, file_id: str) -> list[HeldFile]:
        """All versions of a file of the archive, withdrawn ones too."""
        with self._writer.connect() as connection:
            return holdings.files(connection, arc.file.c.file_id == file_id, limit=MAX_VERSIONS)

    def _curates(self, user: User) -> bool:
        if user.is_anonymous:
            return False
        with self._writer.connect() as connection:
            grants = acl.grants_of(connection, user.subjects, utc_now())
        return any(grant.what == "curate" and grant.scope_kind == "all" for grant in grants)


_CURATORS = ", and for those with a grant to curate everything"


def facts(file: HeldFile) -> ProductFacts:
    """What a decision about a held file rests on."""
    return ProductFacts(
        file_id=file.file_id,
        rights=file.rights,
        release_date=file.release_date,
        obs_collection=file.obs_collection,
        proposal_id=file.proposal_id,
        instrument_name=file.instrument_name,
    )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except InvalidTokenError as error:
        raise Unauthenticated(str(error), invalid=True) from None
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise CatalogueUnavailable("the database does not answer at the moment; try again shortly") from error

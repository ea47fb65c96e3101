"""Who may download what: a pure decision. The clock is an argument, the default is no.

The same rule in SQL is in visible.py; where grants are kept, in queries.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from archive.access.identity import User
from archive.vo.errors import ProprietaryError

ScopeKind = Literal["run", "programme", "collection", "instrument", "all"]
SCOPE_KINDS: tuple[ScopeKind, ...] = ("run", "programme", "collection", "instrument", "all")
What = Literal["data", "metadata", "phase3", "curate"]
WHATS: tuple[What, ...] = ("data", "metadata", "phase3", "curate")


@dataclass(frozen=True, slots=True)
class ProductFacts:
    """What a decision about one product rests on.

    rights: ObsCore's data_rights as ingested ("public", "proprietary", "secure"); any other word counts as secure.
    release_date: end of the proprietary period, with a time zone; None means public at once for "public" and never
    by itself for "proprietary". proposal_id: the observing run, as in ObsCore.
    """

    file_id: str
    rights: str
    release_date: datetime | None
    obs_collection: str
    proposal_id: str | None = None
    instrument_name: str | None = None

    def __post_init__(self) -> None:
        if self.release_date is not None and self.release_date.tzinfo is None:
            raise ValueError(f"{self.file_id}: release_date {self.release_date} has no time zone")


@dataclass(frozen=True, slots=True)
class Grant:
    """A right given to somebody (acl.grant_rule): subject is "user:NAME" or "group:NAME"; times have a zone."""

    subject: str
    scope_kind: str
    scope: str
    what: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def covers(self, product: ProductFacts) -> bool:
        """Whether the product lies in this grant's scope (an unknown scope_kind covers nothing)."""
        run = product.proposal_id
        if self.scope_kind == "all":
            return True
        if self.scope_kind == "run":
            return run is not None and run == self.scope
        if self.scope_kind == "programme":
            # ESO writes a run as "60.A-9120(B)" or, since period 106, as "106.21BJ.001" (domain 2).
            return run is not None and (run == self.scope or run.startswith((f"{self.scope}(", f"{self.scope}.")))
        if self.scope_kind == "collection":
            return product.obs_collection == self.scope
        if self.scope_kind == "instrument":
            return product.instrument_name is not None and product.instrument_name == self.scope
        return False

    def holds(self, now: datetime) -> bool:
        """Whether `now` lies in valid_from <= now < valid_to."""
        return (self.valid_from is None or self.valid_from <= now) and (self.valid_to is None or now < self.valid_to)


@dataclass(frozen=True, slots=True)
class Decision:
    """allowed, and why; public_from: when everyone may, if that is known and still to come."""

    allowed: bool
    reason: str
    public_from: datetime | None = None


def is_public(product: ProductFacts, now: datetime) -> bool:
    """Whether anyone may download it: not secure, and its release date has come (domain 5.1, 6.1)."""
    if product.rights == "public":
        return product.release_date is None or product.release_date <= now
    if product.rights == "proprietary":
        return product.release_date is not None and product.release_date <= now
    return False


def data_rights(product: ProductFacts, now: datetime) -> Literal["public", "proprietary", "secure"]:
    """ObsCore's data_rights as it is now, which is what a download by the anonymous would meet."""
    if is_public(product, now):
        return "public"
    return "proprietary" if product.rights in ("public", "proprietary") else "secure"


def may_download(user: User, product: ProductFacts, grants: Iterable[Grant], now: datetime) -> Decision:
    """Whether the user may have the product's bytes at the moment `now` (with a time zone)."""
    if is_public(product, now):
        return Decision(True, "public")
    released = product.rights in ("public", "proprietary")
    public_from = product.release_date if released else None
    for grant in grants:
        is_theirs = grant.subject in user.subjects
        if is_theirs and grant.what == "data" and grant.holds(now) and grant.covers(product):
            return Decision(
                True, f"granted to {grant.subject} by {grant.scope_kind} {grant.scope}".rstrip(), public_from
            )
    if user.is_operator:
        return Decision(True, "operator", public_from)
    return Decision(False, "proprietary" if released else "secure", public_from)


def refusal(user: User, product: ProductFacts, decision: Decision) -> ProprietaryError:
    """The error of a refused download, which says when the file becomes public and what to do until then."""
    if decision.public_from is not None:
        when = f"becomes public on {decision.public_from:%Y-%m-%dT%H:%M:%SZ}"
    else:
        when = "has no date on which it becomes public"
    run = f" of run {product.proposal_id}" if product.proposal_id else ""
    if user.is_anonymous:
        advice = f"Send the access token of somebody with rights to the data{run} (Authorization: Bearer TOKEN)."
    else:
        advice = f"{user.name} has no right to it yet: the investigators{run} or the archive's operators can grant it."
    return ProprietaryError(
        f"{product.file_id} is not public: it {when}. {advice}",
        anonymous=user.is_anonymous,
        release_date=decision.public_from,
    )

"""Who asks, as a value. How a request proves it is in tokens.py and router.py; what they may have, in rights.py."""

from dataclasses import dataclass

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class User:
    """One who asks.

    name: as in acl.user, "" for the anonymous. groups: names of groups they belong to.
    is_operator: may see and do everything; each such use is audited.
    """

    name: str
    groups: frozenset[str] = frozenset()
    is_anonymous: bool = False
    is_operator: bool = False

    def __post_init__(self) -> None:
        if self.is_anonymous == bool(self.name):
            raise ValueError("the anonymous have no name, and everyone else has one")
        if self.is_anonymous and (self.groups or self.is_operator):
            raise ValueError("the anonymous belong to no group and operate nothing")

    @property
    def subjects(self) -> frozenset[str]:
        """What a grant may call them: "user:NAME" and "group:NAME" for each group; nothing for the anonymous."""
        if self.is_anonymous:
            return frozenset()
        return frozenset({f"user:{self.name}", *(f"group:{group}" for group in self.groups)})


ANONYMOUS = User("", is_anonymous=True)

"""What can go wrong with bytes, in the store's own words. Pure; the archive turns these into its own errors.

Each error says what happened, where, and what to do. No text holds a secret.
"""


class StorageError(Exception):
    """A failure of the store. Its message may be shown to an operator."""


class InvalidKey(StorageError):
    """Not a key of the store's grammar (storage.volume.check_key)."""


class InvalidRange(StorageError):
    """A range of bytes that no object of this size has."""


class ObjectNotFound(StorageError):
    """No object lies under this key."""


class ObjectExists(StorageError):
    """An object lies under this key already; nothing is ever overwritten."""


class ChecksumMismatch(StorageError):
    """The bytes are not those that were promised: another size, or another digest."""


class OutOfSpace(StorageError):
    """The volume has no room for the object; nothing of it was kept. Another volume may have room."""


class VolumeUnavailable(StorageError):
    """The volume cannot be reached, or refuses us. The object may be there; try later, or another volume."""


class ReadFailed(StorageError):
    """An object ended early or could not be read on; what came before is not the whole."""


class NoSoundCopy(ReadFailed):
    """No copy of the object could be read whole: each is corrupt, missing, or on a volume that is not to be had."""


class InvalidFileId(StorageError):
    """Not a file_id: 1 to 1,024 bytes of UTF-8 without control characters."""


class ContainerNotFound(StorageError):
    """No container has this number."""


class ContainerNotEmpty(StorageError):
    """The container holds files or containers; empty it first."""


class CopyNeeded(StorageError):
    """The copy is one of too few sound ones to be given up."""


class CatalogueUnavailable(StorageError):
    """The catalogue's database cannot be reached, or gave no answer. What was sent may have been kept: look, or send
    it again, which makes no second version."""


class Unauthenticated(StorageError):
    """Who asks must say who they are (HTTP 401). invalid: they did, with a credential that is none, or no longer."""

    def __init__(self, message: str, *, invalid: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid


class Forbidden(StorageError):
    """Who asks may not do this (HTTP 403)."""


class VersionConflict(StorageError):
    """This version of the file is here already, with other bytes."""


class SiteUnavailable(StorageError):
    """Another site cannot be reached, was cut off, or does not answer as a store does. Go on later."""

"""Drop folders as their writers and readers see them. Imports nothing of ours: spawned processes start quickly."""

from pathlib import Path


def deliver(folder: Path, name: str, content: bytes) -> Path:
    """Put a file into a drop folder as a writer does: under another name first, then by a rename."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.rename(path)
    return path


def files_below(folder: Path) -> list[str]:
    """Relative paths of all files below a folder but locks, sorted."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
    )

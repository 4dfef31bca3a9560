"""Names that some file systems take for one: those of macOS and Windows know no case, nor two forms of a letter."""

from collections.abc import Iterable, Sequence


def folded(path: str) -> str:
    """What a file system that knows neither case nor Unicode's forms takes a name for."""
    if path.isascii():
        return path.lower()
    import unicodedata

    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def clashes(paths: Sequence[str]) -> list[list[str]]:
    """Groups of names, folders among them, that would be one name there; sorted."""
    folders = {path.rpartition("/")[0] for path in paths}
    for folder in list(folders):
        while folder := folder.rpartition("/")[0]:
            if folder in folders:
                break
            folders.add(folder)
    folders.discard("")
    names = {*paths, *folders}
    if len(set(map(folded, names))) == len(names):
        return []
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folded(name), []).append(name)
    return sorted(_topmost(sorted(group) for group in groups.values() if len(group) > 1))


def _topmost(groups: Iterable[list[str]]) -> list[list[str]]:
    """Without groups that clash only because the folders above them do."""
    return [group for group in groups if len({name.rpartition("/")[0] for name in group}) < len(group)]

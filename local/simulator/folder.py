"""Recorded bodies served from a folder instead of generated ones."""

from pathlib import Path

from local.simulator.generator import INCIDENT_TYPES
from local.simulator.settings import SettingsError


class Folder:
    """The eight bodies as they stand in `<type>.json` and `identities.json`, read once, whatever the time."""

    def __init__(self, folder: Path) -> None:
        """Read the eight files; raises SettingsError that names what is missing or can't be read."""
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder}")
        paths = {name: folder / f"{name}.json" for name in (*INCIDENT_TYPES, "identities")}
        missing = [path.name for path in paths.values() if not path.is_file()]
        if missing:
            raise SettingsError(f"the folder {folder} lacks {', '.join(missing)}")
        try:
            self._bodies = {name: path.read_bytes() for name, path in paths.items()}
        except OSError as error:
            raise SettingsError(f"can't read {error.filename}: {error.strerror}") from error

    def incidents_body(self, incident_type: str, now: float) -> bytes:
        """The bytes of `<type>.json`."""
        return self._bodies[incident_type]

    def identities_body(self, now: float) -> bytes:
        """The bytes of `identities.json`."""
        return self._bodies["identities"]

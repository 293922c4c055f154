"""Files that are there whole or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that takes the place of ``path`` when all has gone well, and vanishes otherwise.

    Until then it has another name in the same folder. A new file is for its owner alone; one that is replaced
    keeps its mode. Devices and pipes are written to as they are, /dev/stdout also where it is a file. Raises
    OSError.
    """
    if path.exists() and (not path.is_file() or path.parent == Path("/dev")):
        with path.open("ab") as device:
            yield device
        return
    # Through a symbolic link: it stays one.
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is not there", str(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            Path(name).chmod(stat.S_IMODE(path.stat().st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def check_replaceable(path: Path) -> None:
    """Raises OSError where :func:`replacing` could not write beside ``path``."""
    if path.exists() and not path.is_file():
        return
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is not there", str(path))
    with tempfile.TemporaryFile(dir=folder):
        return


def store(path: Path, text: str) -> None:
    """Replace the content of a small file. Raises OSError."""
    with replacing(path) as file:
        file.write(text.encode())


def sync(stream: BinaryIO) -> None:
    """Bring what was flushed to the disk, if that is where it goes.

    Raises OSError where the disk does not take it.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        # A stream in memory has none.
        return
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

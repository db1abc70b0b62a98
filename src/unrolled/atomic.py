"""Two folders change places in one step, and a lock that ends with its process."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unrolled.errors import InputError

MOST_CARRIED = 1000
"""So many files that are nobody's result are given a second name at most."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux
RENAME_SWAP = 2  # macOS


class InUseError(Exception):
    """The lock is another's."""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds ``path``, a file made for it and removed with it, in the block.

    Raises:
        InUseError: another process holds it, or another thread of this one.
    """
    descriptor = _acquire(path)
    try:
        yield
    finally:
        # While it is held, so that it is surely this one's.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(descriptor)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one who held it has removed it since: once more


def _take(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise InUseError from None
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A file system without locks: better written without one than not at all.


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders of one file system in one step; False if the system can't."""
    if sys.platform == "win32":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform.startswith("linux") and hasattr(library, "renameat2"):
        code = library.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        code = library.renamex_np(first, second, RENAME_SWAP)
    else:
        return False
    return bool(code == 0)


def carry(old: Path, new: Path, gone: Collection[str]) -> bool:
    """Gives each file of ``old`` that ``new`` lacks its place there too, as a second name of it.

    Args:
        old: the folder with the files.
        new: the folder that is to have them.
        gone: paths within ``old`` to be left out.

    Returns:
        Whether it could be done: not for too many files, nor across file systems.

    Raises:
        InputError: a folder stands where ``new`` has a file, or a file where it has a folder.
    """
    folders: list[Path] = []
    files: list[Path] = []
    for entry in _within(old):
        path, within = old / entry, new / entry
        is_folder = path.is_dir() and not path.is_symlink()
        if os.path.lexists(within):
            if is_folder != within.is_dir():
                kind = "a folder" if is_folder else "a file"
                other = "a file" if is_folder else "a folder"
                raise InputError(
                    f"{path}: is {kind}, and the result has {other} of that name. Move it away"
                )
        elif entry.as_posix() not in gone:
            (folders if is_folder else files).append(entry)
        if len(folders) + len(files) > MOST_CARRIED:
            return False
    try:
        for folder in folders:
            (new / folder).mkdir()
        for file in files:
            os.link(old / file, new / file, follow_symlinks=False)
        for folder in folders:
            shutil.copystat(old / folder, new / folder)
    except (OSError, NotImplementedError):
        return False
    return True


def _within(folder: Path) -> Iterator[Path]:
    """The path of everything in a folder, outer folders first; links are not followed."""
    for above, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            yield Path(above, name).relative_to(folder)


def move(draft: Path, folder: Path) -> None:
    """All that is in ``draft`` to the same place in ``folder``, one by one."""
    for made in sorted(draft.iterdir()):
        place = folder / made.name
        if made.is_dir():
            place.mkdir(exist_ok=True)
            move(made, place)
        else:
            made.replace(place)


def sync_tree(path: Path, *, deep: bool = True) -> None:
    """Brings a file, or a folder with what is in it, to the disk."""
    if deep and path.is_dir() and not path.is_symlink():
        for within in path.iterdir():
            sync_tree(within)
    is_folder = path.is_dir()
    try:
        descriptor = os.open(
            path, os.O_RDONLY if is_folder or sys.platform != "win32" else os.O_RDWR
        )
    except OSError:
        if is_folder:  # Windows opens none
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:  # some systems can't sync a folder
            raise
    finally:
        os.close(descriptor)

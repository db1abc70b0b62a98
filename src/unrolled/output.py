"""Where results go: tried before the work, and then all of them or none.

While a command works, its place is claimed: a draft stands beside it, and a lock that ends with the
process. So a second command for the same place is refused at once, a place that can't be written
costs no work, and what a killed process left is cleared away by the next.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unrolled.atomic import InUseError, carry, exchange, lock, move, sync_tree
from unrolled.errors import InputError

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors of the disk itself, which may not say the file that they came with."""


@contextmanager
def replacing(
    folder: Path, *, overwrite: bool, flag: str = "--out", stale: Collection[str] = ()
) -> Iterator[Path]:
    """A new, empty folder to write into, whose files stand in ``folder`` once all is well.

    Nothing is seen of them before, and nothing is left of them if the block raises. Files of
    other names that ``folder`` held stay: overwriting a run must not empty somebody's folder.

    The change is one exchange of two folders, so that whoever is killed, the folder is the old one
    or the new one. Where it can't be (a mount point, the folder that the process stands in, a
    system without the call, more than a thousand other files) the new files are moved one by one.

    Args:
        folder: where to.
        overwrite: whether it may hold something.
        flag: by which a user names another.
        stale: files of an earlier result, by their path within the folder, that go if the new
            one has none of that name.

    Raises:
        InputError: ``folder`` is a file, is not empty and may not be overwritten, can't be
            written, or is being written by another process.
    """
    check_free(folder, overwrite=overwrite, flag=flag)
    with _claimed(folder, flag) as (place, draft), _named(folder, draft, flag):
        draft.mkdir()
        _try_out(draft / "try")
        yield draft
        check_free(folder, overwrite=overwrite, flag=flag)
        sync_tree(draft)
        _put(draft, place, stale)
        sync_tree(place.parent, deep=False)


@contextmanager
def writing(path: Path, *, overwrite: bool, flag: str = "--out") -> Iterator[Path]:
    """The same for a single file: the block writes the file that is yielded.

    What exists and is no regular file, such as a pipe or ``/dev/stdout``, is written to as it is.

    Raises:
        InputError: ``path`` is a folder, exists and may not be overwritten, can't be written, or is
            being written by another process.
    """
    check_free_file(path, overwrite=overwrite, flag=flag)
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as aside, _named(path, path, flag):
            draft = Path(aside) / "draft"
            yield draft
            with path.open("wb") as out:
                out.write(draft.read_bytes())
        return
    with _claimed(path, flag) as (place, draft), _named(path, draft, flag):
        _try_out(draft)
        yield draft
        check_free_file(path, overwrite=overwrite, flag=flag)
        with suppress(FileNotFoundError):
            shutil.copymode(place, draft)
        sync_tree(draft)
        os.replace(draft, place)
        sync_tree(place.parent, deep=False)


def check_free(folder: Path, *, overwrite: bool, flag: str = "--out") -> None:
    """That ``folder`` may be written, as far as looking tells.

    Raises:
        InputError: it is a file, or is not empty and may not be overwritten; says to name another
            by ``flag``.
    """
    with _named(folder, folder, flag):
        if _exists(folder) and not folder.is_dir():
            raise InputError(f"{folder}: is a file, not a folder. Name another with {flag}")
        if folder.is_dir() and any(folder.iterdir()) and not overwrite:
            raise InputError(
                f"{folder}: exists and is not empty. Name another with {flag}, or add --overwrite"
            )


def check_free_file(path: Path, *, overwrite: bool, flag: str = "--out") -> None:
    """The same for a single file.

    Raises:
        InputError: it is a folder, or exists and may not be overwritten.
    """
    with _named(path, path, flag):
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a file. Name another with {flag}")
        if _exists(path) and not overwrite:
            raise InputError(f"{path}: exists. Name another with {flag}, or add --overwrite")


def check_apart(path: Path, sources: Mapping[str, Path], flag: str = "--out") -> None:
    """That a file to be written is none of those that are read, by whatever name.

    Args:
        path: the file to be written.
        sources: the files that are read, by what each is: "the table", say.
        flag: by which a user names another.

    Raises:
        InputError: it is one of them, if only through a link.
    """
    for what, source in sources.items():
        if _is_same(path, source):
            also = "" if path == source else f" ({source})"
            raise InputError(
                f"{path}: is {what}{also}, which would be lost. Name another with {flag}"
            )


def check_suffix(path: Path, known: Collection[str], flag: str = "--out") -> str:
    """The suffix of a file to be written, in lower case; it says the format.

    Raises:
        InputError: it is not one of ``known``.
    """
    suffix = path.suffix.lower()
    if suffix not in known and not _is_device(path):
        raise InputError(
            f"{path}: a name that ends in {' or '.join(known)} was expected. "
            f"Name another with {flag}"
        )
    return suffix


@contextmanager
def _claimed(path: Path, flag: str) -> Iterator[tuple[Path, Path]]:
    """The place without links on its way, and where its draft may stand, while it is locked."""
    place = Path(os.path.realpath(path))
    if not place.name:
        raise InputError(f"{path}: nothing can be written there. Name another with {flag}")
    above = [parent for parent in place.parents if not parent.exists()]
    stem = place.name
    if len(os.fsencode(stem)) > 200:  # a name may have 255 bytes, and the draft's is longer
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()
    draft = place.with_name(f".{stem}.unrolled-draft")
    try:
        with ExitStack() as stack:
            with _refusing(path, place, flag):
                _exists(place)  # a name that can't be
                place.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(draft.with_suffix(".unrolled-lock")))
                _remove(draft)  # of a killed process
            try:
                yield place, draft
            finally:
                with suppress(OSError):
                    _remove(draft)
    except InUseError:
        raise InputError(
            f"{path}: is being written by another process. Wait for it, or name another with {flag}"
        ) from None
    finally:
        for parent in above:
            with suppress(OSError):  # it holds the result
                parent.rmdir()


@contextmanager
def _refusing(path: Path, place: Path, flag: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        there = next((parent for parent in place.parents if parent.exists()), place.parent)
        raise InputError(
            f"{path}: nothing can be written in {there} ({error.strerror or error}). "
            f"Name another with {flag}"
        ) from error


@contextmanager
def _named(path: Path, draft: Path, flag: str) -> Iterator[None]:
    """Says ``path`` where the system says the draft, or nothing at all."""
    try:
        if "\0" in str(path):
            raise InputError(f"{str(path)!r}: has a NUL in its name. Name another with {flag}")
        os.fsencode(path)
        yield
    except UnicodeEncodeError as error:  # half a letter, as JSON can write one
        raise InputError(
            f"{str(path)!r}: has letters that no file's name has here. Name another with {flag}"
        ) from error
    except OSError as error:
        if error.errno in DISK or str(error.filename or "").startswith(str(draft)):
            repair = "Make room, or name" if error.errno in DISK else "Name"
            raise InputError(
                f"{path}: can't be written ({error.strerror or error}). "
                f"{repair} another with {flag}"
            ) from error
        raise


def _try_out(file: Path) -> None:
    """Writes a little and takes it back: asking for permission does not tell a full disk."""
    with file.open("wb") as probe:
        probe.write(bytes(4096))
        probe.flush()
        os.fsync(probe.fileno())
    file.unlink()


def _put(draft: Path, place: Path, stale: Collection[str]) -> None:
    """The draft's content to its place; what stood there may then stand where the draft was."""
    if not place.exists():
        os.rename(draft, place)
        return
    shutil.copymode(place, draft)
    gone = [name for name in stale if not (draft / name).exists()]
    if not _is_inside(Path.cwd(), place) and carry(place, draft, gone) and exchange(draft, place):
        carry(draft, place, gone)  # what came between the two
        return
    move(draft, place)
    for name in gone:
        (place / name).unlink(missing_ok=True)


def _is_inside(path: Path, folder: Path) -> bool:
    return any(parent.samefile(folder) for parent in (path, *path.parents))


def _exists(path: Path) -> bool:
    """Whether there is something; a name that can't be is told by the system's own words."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return False


def _is_device(path: Path) -> bool:
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

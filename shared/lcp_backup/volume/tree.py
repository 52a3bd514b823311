"""A tree that is written by many threads, in the order of its members where that matters.

Most of a restore are small files, and over a network each takes a few calls of a millisecond or
more. They are handed to threads, some in a row, and so is all work on folders: a document often has
a folder of its own. The thread that reads the archive only says what is to be done, and waits

- while too much is under way,
- for what is being written under the name that it needs next, so the later member of a name wins.

Folders get their owner, mode and time when nothing goes on in them and others were needed since,
because writing into them would change the time and may need more than the mode allows. So memory
does not grow with their number; one that is needed again has put back what it has.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from lcp_backup.errors import ArchiveRefused
from lcp_backup.volume.crew import Crew
from lcp_backup.volume.descent import OPEN_FOLDER
from lcp_backup.volume.members import Attributes, Content, Members
from lcp_backup.volume.names import quoted
from lcp_backup.volume.tree_folders import Folder, TreeFolders
from lcp_backup.volume.writing import Writing, both_folder_and_file, open_file

_SMALL: Final = 1 << 20
"""Bytes of the largest file that a thread gets as a whole; the others are written as they come."""
_STEPS: Final = 16
_JOB_SIZE: Final = 1 << 20
_MOST_SIZE: Final = 32 << 20
"""Bytes of files that are under way, at most."""
_JOBS_OF_THREAD: Final = 3
"""For each thread, how many jobs are under way at most, so that none waits for work."""
_AT_HAND: Final = 1024
"""Folders that are at hand, about; up to four times as many while they are deep in one another."""


class _Step(NamedTuple):
    """Something to do in a folder."""

    folder: Folder
    way: str = ""
    content: bytes | str | None = None
    """A file's bytes, a link's target; None: the folder is left."""
    attributes: Attributes | None = None

    @property
    def name(self) -> str:
        return self.way.rpartition("/")[2]

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else 0


class Tree(Members):
    """Writes members below one folder, reaching them from there and never through a link.

    Leaving its `with` block ends its threads and closes what is open. Only `finish` makes sure that
    everything was written. Methods raise ArchiveRefused, OSError and what `check` raises, and so of
    a member before; then only the block may be left.

    Args:
        root: the folder, which has its attributes.
        owner: uid and gid of everything; None: the members' own.
        threads: how many write at once.
        check: called while something is waited for; what it raises ends that.
        writing: how members are made, where that is not as usual.
    """

    def __init__(
        self,
        root: Path,
        owner: tuple[int, int] | None,
        *,
        threads: int,
        check: Callable[[], None],
        writing: Writing | None = None,
    ) -> None:
        self._check = check
        self._writing = writing or Writing(owner)
        self._folders = TreeFolders(os.open(root, OPEN_FOLDER))
        self._crew = Crew(threads, self._do)
        self._most_jobs = threads * _JOBS_OF_THREAD
        self._waiting: list[_Step] = []
        self._waiting_size = 0
        self._size = 0
        """Bytes that are under way."""
        self._at_hand: dict[Folder, None] = {}
        """All folders but the root, those that were needed last at the end."""
        self._most_at_hand = self._look_from = _AT_HAND
        self._here = self._folders.root
        """The folder that was needed last, which is not let go of; and its components:"""
        self._way: list[str] = []
        self._writing.give_folder(self._folders.root.descriptor or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()
        self._folders.close()

    def finish(self) -> None:
        """Waits until all is written and all folders have what they shall have."""
        self._here, self._way = self._folders.root, []
        self._wait_for_all()
        self._most_at_hand = 0
        for folder in list(self._at_hand):
            self._let_go(folder)
        self._wait_for_all()

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        self._enter(components).given = attributes

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        folder = self._entered_for(components)
        way = "/".join(components)
        if size > _SMALL:
            with self._folders.entered(folder) as descriptor:
                self._writing.make_file(descriptor, way, content, attributes)
        elif self._crew.has_threads:
            self._add(_Step(folder, way, b"".join(content), attributes))
        else:
            # Not even a copy is made for nothing.
            with self._crew.timed(1), self._folders.entered(folder) as descriptor:
                self._writing.make_file(descriptor, way, content, attributes)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        folder = self._entered_for(components)
        self._add(_Step(folder, "/".join(components), target, attributes))

    def add_name(self, components: list[str], existing: list[str]) -> None:
        """A hard link; what it names must be a file that was unpacked before it."""
        way = "/".join(components)
        if not existing or existing == components:
            raise ArchiveRefused(f"the archive's hard link {quoted(way)} has no file")
        # A handle of the file itself: so what was looked at is what gets the name, and its folder,
        # which may be left now with a mode that lets nobody in, is not needed any more.
        source = self._enter(existing[:-1])
        self._wait_for_name(source, existing[-1])
        with self._folders.entered(source) as descriptor:
            file = open_file(descriptor, existing[-1])
        if file is None:
            raise ArchiveRefused(
                f"the archive's hard link {quoted(way)} names {quoted('/'.join(existing))},"
                " which is no file before it in the archive"
            )
        try:
            with self._folders.entered(self._entered_for(components)) as descriptor:
                self._writing.make_name(descriptor, way, file)
        finally:
            os.close(file)

    # --- the way to a folder --------------------------------------------------

    def _entered_for(self, components: list[str]) -> Folder:
        """The folder for a member that is none; nothing under way there has its name."""
        folder = self._enter(components[:-1])
        if components[-1] in folder.inside:
            raise both_folder_and_file("/".join(components))
        self._wait_for_name(folder, components[-1])
        return folder

    def _wait_for_name(self, folder: Folder, name: str) -> None:
        while name in folder.names:
            self._hand_over()
            self._collect()

    def _enter(self, components: list[str]) -> Folder:
        """The folder of these components, at hand."""
        if components != self._way:
            self._here = self._folders.root
            for name in components:
                self._here = self._child(self._here, name)
            self._way = components
        return self._here

    def _child(self, parent: Folder, name: str) -> Folder:
        child = parent.inside.get(name)
        if child is not None:
            if self._folders.keep(child):
                self._at_hand[child] = self._at_hand.pop(child)
                return child
            while name in parent.inside:
                self._hand_over()
                self._collect()
        self._wait_for_name(parent, name)
        child = Folder(parent, name)
        parent.inside[name] = child
        self._at_hand[child] = None
        self._here = child
        self._make_room()
        return child

    def _make_room(self) -> None:
        if len(self._at_hand) > self._look_from:
            for folder in list(self._at_hand)[: len(self._at_hand) // 2]:
                self._let_go(folder)
            # Where few could go, looking again at once would be in vain.
            self._look_from = max(_AT_HAND, len(self._at_hand) + _AT_HAND // 4)
            self._hand_over()
        while len(self._at_hand) > 4 * _AT_HAND and (self._waiting or self._crew.under_way):
            self._hand_over()
            self._collect()

    def _let_go(self, folder: Folder) -> None:
        """Has a folder left if nothing goes on in it."""
        if folder.steps or folder.inside or folder is self._here or folder.parent is None:
            return
        folder.leaving = True
        self._put_down(_Step(folder))

    # --- what is under way ----------------------------------------------------

    def _add(self, step: _Step) -> None:
        self._put_down(step)
        if len(self._waiting) >= _STEPS or self._waiting_size >= _JOB_SIZE:
            self._hand_over()

    def _put_down(self, step: _Step) -> None:
        step.folder.steps += 1
        if step.content is not None:
            step.folder.names.add(step.name)
        self._waiting.append(step)
        self._waiting_size += step.size

    def _hand_over(self) -> None:
        """Gives the crew whatever waits."""
        while self._waiting:
            job = self._waiting[:_STEPS]
            del self._waiting[:_STEPS]
            size = sum(step.size for step in job)
            self._waiting_size -= size
            self._size += size
            self._crew.give(job)
            while self._crew.under_way >= self._most_jobs or self._size > _MOST_SIZE:
                self._collect()
            while (done := self._crew.collect(wait=False)) is not None:
                self._mark(done)

    def _wait_for_all(self) -> None:
        while self._waiting or self._crew.under_way:
            self._hand_over()
            self._collect()

    def _collect(self) -> None:
        """Waits for a job."""
        self._check()
        if (done := self._crew.collect(wait=True)) is not None:
            self._mark(done)

    def _mark(self, done: Sequence[_Step]) -> None:
        for step in done:
            folder = step.folder
            folder.steps -= 1
            if step.content is not None:
                folder.names.remove(step.name)
                self._size -= step.size
            elif folder.left:
                assert folder.parent is not None
                del self._at_hand[folder], folder.parent.inside[folder.name]
                if len(self._at_hand) > self._most_at_hand:
                    self._let_go(folder.parent)

    def _do(self, step: _Step) -> None:
        """Does a step, on any thread."""
        folder = step.folder
        if step.content is None:
            if self._folders.may_leave(folder):
                with self._folders.entered(folder) as descriptor:
                    self._folders.open_above(folder)
                    self._writing.settle_folder(descriptor, folder.given or folder.found)
                self._folders.close_one(folder)
            return
        assert step.attributes is not None
        with self._folders.entered(folder) as descriptor:
            if isinstance(step.content, str):
                self._writing.make_link(descriptor, step.way, step.content, step.attributes)
            else:
                self._writing.make_file(descriptor, step.way, [step.content], step.attributes)

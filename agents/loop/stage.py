"""A stage of the loop: work that is done once, from files to files.

Whether it is done stands in its manifest, which is written last. Knows nothing of what stages do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.loop.manifest import (
    FILE,
    Manifest,
    digests,
    read_manifest,
    require_same,
    write_manifest,
)


@dataclass(frozen=True)
class Stage:
    """Holds what there is to do, and what it depends on.

    Attributes:
        name: For people, and for the manifest.
        root: Folder of the loop.
        folder: Of this stage, within it.
        settings: What the stage is told, as JSON has it.
        reads: What it reads, within the loop's folder.
        model: SHA-256 of a model from elsewhere that it reads too, if it does.
        writes: What it writes, within its folder, and what is the same whenever it is done.
        work: Does it, from wherever it was stopped.
    """

    name: str
    root: Path
    folder: Path
    settings: Mapping[str, Any]
    reads: Sequence[Path]
    model: Mapping[str, str]
    writes: Sequence[str]
    work: Callable[[], object]

    def carry_out(self) -> bool:
        """Does what is not done yet, and returns whether there was anything to do.

        Raises:
            ValueError: If it was done with other settings or of other files, or what it wrote is
                not what it was.
        """
        inputs = {**self.model, **digests(self.root, self.reads)}
        done = read_manifest(self.folder)
        if done is not None:
            where = str(self.folder / FILE)
            require_same(self.settings, done.settings, where)
            require_same(inputs, done.inputs, where)
            require_same(self._outputs(), done.outputs, where)
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        self.work()
        made = Manifest(self.name, self.settings, inputs, self._outputs())
        write_manifest(self.folder, made)
        return True

    def _outputs(self) -> dict[str, str]:
        return digests(self.root, [self.folder / name for name in self.writes])

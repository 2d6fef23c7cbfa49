"""Where CUDA's compiler is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Optional


def find_nvcc() -> Optional[str]:
    """The path of ``nvcc`` on the PATH, in CUDA_HOME or in /usr/local/cuda; None if it is in none.

    JetPack does not put it on the PATH.
    """
    roots = (os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    folders = os.pathsep.join(str(Path(root) / "bin") for root in roots if root)
    return shutil.which("nvcc") or shutil.which("nvcc", path=folders)

"""A Python environment of its own for MMSA, whose pinned dependencies would not go with ours."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from step.processes import say

MMSA = "MMSA==2.2.1"
# What `import MMSA` needs, at versions that it was seen to work with. torch and numpy are those of the running environment.
REQUIREMENTS = (
    "scikit-learn==1.9.1",
    "pandas==3.1.1",
    "transformers==5.23.0",
    "easydict==1.14",
    "nvidia-ml-py3==7.352.0",
    "tqdm==4.70.1",
)
LOCK = Path(__file__).parents[2] / "requirements.lock"
DONE = "multigrain-benchmark-complete"


def default_folder() -> Path:
    """In the user's cache, one for each version of torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "multigrain" / f"{MMSA.replace('==', '-').lower()}-torch-{_own_version('torch')}"


def mmsa_python(folder: Path) -> str:
    """The interpreter of the environment in `folder`, which is made where it is not there yet (a minute or two, about 1.5 GB).

    Raises:
        RuntimeError: it cannot be made, or `folder` holds something else.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [f"torch=={_own_version('torch')}", f"numpy=={_own_version('numpy')}", *REQUIREMENTS]
    done = folder / DONE
    if done.is_file() and done.read_text(encoding="utf-8").split() == [*wanted, MMSA] and python.exists():
        return str(python)
    is_own = (folder / "pyvenv.cfg").is_file()
    if folder.exists() and any(folder.iterdir()) and not is_own:
        raise RuntimeError(f"{folder} holds something else than an environment. Pass --mmsa-env another folder.")
    say(f"making MMSA's environment in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    constraints = folder / "constraints.txt"
    _run([sys.executable, "-m", "venv", str(folder)])
    constraints.write_text(_constraints(), encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, "--constraint", str(constraints), *wanted])
    _run([*install, "--no-deps", MMSA])
    done.write_text("\n".join([*wanted, MMSA]) + "\n", encoding="utf-8")
    return str(python)


def _own_version(package: str) -> str:
    """The running environment's, without a build's suffix such as "+cpu"."""
    return version(package).partition("+")[0]


def _constraints() -> str:
    """Our lock file for what comes along, but for the two that follow the running environment."""
    lines = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.is_file() else []
    return "\n".join(line for line in lines if not line.startswith(("torch==", "numpy==", "#"))) + "\n"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise RuntimeError(f"`{' '.join(command[1:4])} ...` failed while making MMSA's environment: {said[-1] if said else done.returncode}")

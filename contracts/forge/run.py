"""Run forge's invariant tests with the project's own compiler.

npm ci --prefix contracts/forge
python contracts/forge/run.py [arguments of `forge test`]
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent


def forge() -> Path | None:
    """The binary that npm installed here; None if it did not."""
    found = sorted((HERE / "node_modules" / "@foundry-rs").glob(f"forge-{platform.system().lower()}-*/bin/forge*"))
    return found[0] if found else None


def build_module() -> ModuleType:
    """contracts/build.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("contracts_build", HERE.parent / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    binary = forge()
    if binary is None:
        print("forge is missing: run `npm ci --prefix contracts/forge`", file=sys.stderr)
        return 2
    with build_module().compiler() as solc:
        environment = os.environ | {"FOUNDRY_CONFIG": str(HERE / "foundry.toml"), "FOUNDRY_SOLC": str(solc)}
        command = [str(binary), "test", "--root", str(HERE.parent), *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

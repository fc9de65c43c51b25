from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.chain import Consortium, deploy_consortium
from tests.helpers.scene import Scene, deploy_scene


@pytest.fixture(scope="session")
def deployed() -> Consortium:
    return deploy_consortium(4)


@pytest.fixture
def consortium(deployed: Consortium) -> Iterator[Consortium]:
    """Four members' contracts as they were deployed; what a test does to them is undone."""
    with deployed.chain.undone():
        yield deployed


@pytest.fixture(scope="session")
def deployed_scene() -> Consortium:
    return deploy_scene(5)


@pytest.fixture
def scene(deployed_scene: Consortium) -> Iterator[Scene]:
    """Five members' contracts beside their model; both must say the same about every call."""
    with deployed_scene.chain.undone():
        yield Scene(deployed_scene)

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.chain import Consortium, deploy_consortium


@pytest.fixture(scope="session")
def deployed() -> Consortium:
    return deploy_consortium(4)


@pytest.fixture
def consortium(deployed: Consortium) -> Iterator[Consortium]:
    """Four members' contracts as they were deployed; what a test does to them is undone."""
    with deployed.chain.undone():
        yield deployed

"""Models that only tests use; one file per room under `tests/testapp/`, gathered here."""

from tests.testapp.advised import *  # noqa: F403  # Django looks for them here
from tests.testapp.api import *  # noqa: F403  # Django looks for them here
from tests.testapp.bulk import *  # noqa: F403  # Django looks for them here
from tests.testapp.caching import *  # noqa: F403  # Django looks for them here
from tests.testapp.effects import *  # noqa: F403  # Django looks for them here
from tests.testapp.hydration import *  # noqa: F403  # Django looks for them here
from tests.testapp.imported import *  # noqa: F403  # Django looks for them here
from tests.testapp.large import *  # noqa: F403  # Django looks for them here
from tests.testapp.loading import *  # noqa: F403  # Django looks for them here
from tests.testapp.soak import *  # noqa: F403  # Django looks for them here

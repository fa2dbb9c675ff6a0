"""What holds for every test."""

from __future__ import annotations

import hypothesis

# Other workers share the processor, so the time of one example says nothing.
hypothesis.settings.register_profile("perfkit", deadline=None)
hypothesis.settings.load_profile("perfkit")

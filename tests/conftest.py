"""What holds for every test."""

from __future__ import annotations

import os

import hypothesis

# Other workers share the processor, so the time of one example says nothing.
# With PERFKIT_EXAMPLES=same there are no new examples, so that a change is refused for its own faults.
hypothesis.settings.register_profile(
    "perfkit", deadline=None, derandomize=os.environ.get("PERFKIT_EXAMPLES") == "same"
)
hypothesis.settings.load_profile("perfkit")

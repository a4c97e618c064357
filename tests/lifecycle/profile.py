"""How hypothesis is to run the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, seed, settings

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

STEPS_PER_STORY = 50


def settings_for(steps: int, *, is_random: bool = False) -> settings:
    """Return settings for about so many *steps*, and at most so many.

    Random or not, nothing is kept between runs: a failure is printed as a story to be copied
    into a test of its own. It is made small only in a random run: that may take longer than a test
    of the suite has, which then would end without any story.
    """
    return settings(
        max_examples=max(steps // STEPS_PER_STORY, 1),
        stateful_step_count=STEPS_PER_STORY,
        deadline=None,  # virtual time knows no slowness, and a busy machine is no failure
        database=None,
        derandomize=not is_random,
        phases=(Phase.generate, Phase.shrink) if is_random else (Phase.generate,),
        suppress_health_check=[each for each in HealthCheck if isinstance(each, HealthCheck)],
        report_multiple_bugs=False,
        print_blob=False,
    )


def seeded(machine: type[RuleBasedStateMachine], number: int) -> type[RuleBasedStateMachine]:
    """Return *machine* with the stories of that number, in a random run."""
    found: type[RuleBasedStateMachine] = seed(number)(type("Machine", (machine,), {}))
    return found

"""A prompt that is written out before anything else: ``enhance_prompt=True``.

What is written takes the prompt's place in the generation that follows, so everything there, the
kept contexts too, depends on what is encoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ltx2cpp.generation.needs import PlannedNeeds
from ltx2cpp.generation.phases import State
from ltx2cpp.generation.phases.enhance import EnhancePrompt
from ltx2cpp.generation.phases.text import EncodePrompt
from ltx2cpp.generation.run import Run
from ltx2cpp.memory.plan import Keeping
from ltx2cpp.networks.control import Control

logger = logging.getLogger("ltx2cpp")


def enhanced_prompt(
    needs: PlannedNeeds,
    settle_memory: Callable[[PlannedNeeds], Keeping],
    control: Control,
) -> str:
    """Return the prompt written out.

    A text encoder that wrote it stays loaded, since it reads the result next.

    Args:
        needs: of the generation, with the prompt as it was given.
        settle_memory: decides how the generation is run.
        control: what may end or pause the generation.

    Raises:
        DeviceMemoryError: the model does not fit.
    """
    enhancement, networks = needs.plan.enhancement, needs.networks
    assert enhancement is not None
    if enhancement.shows_pictures:
        logger.warning(
            "enhance_prompt: the prompt is written out from its words alone; pictures and clips "
            "are not looked at"
        )
    settle_memory(needs)
    phases = [phase for phase in needs.phase_list if isinstance(phase, EnhancePrompt)]
    keeping = Keeping("none", keeps_transformer=True)
    run = Run(phases, State(needs.known), keeping, networks.backend, control)
    run.start()
    if networks.prompt_enhancer.is_own:
        networks.prompt_enhancer.release()
    text = run.state.enhanced_prompt
    assert text is not None
    logger.info("the prompt is written out: %s", text)
    return text


def free_writer(needs: PlannedNeeds, keeping: Keeping) -> None:
    """Free a text encoder that wrote the prompt and has nothing to encode, as all is known.

    Args:
        needs: of the generation that follows.
        keeping: which components stay loaded.
    """
    component = EncodePrompt.component
    reads = any(phase.component == component for phase in needs.phase_list)
    if not (reads or keeping.keeps(component)):
        needs.networks.prompt_encoder.release_encoder()

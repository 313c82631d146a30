"""A signal while a policy learns: the run ends in order, in all processes that learn together.

What is saved then is another callback's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from agents.agent import Agent
from agents.callbacks import Callback
from agents.command_line.signals import Signalled, Signals
from agents.distributed import processes


class Interruption(Signals, Callback):
    """Stops training after the update in which SIGINT or SIGTERM arrives.

    Outside of `deferred`, and the second time, a signal raises KeyboardInterrupt at once.
    """

    def stop_if_asked(self) -> None:
        """Raises `Signalled` if a signal came, to this process or to one it learns with."""
        everywhere = processes.all_gather_object(self.signal)
        came = [number for number in everywhere if number is not None]
        if came:
            raise Signalled(came[0])

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Returns whether nobody asked to stop."""
        return self.signal is None

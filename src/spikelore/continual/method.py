"""What a method is: its own settings, what it needs of a network, and how it starts to learn.

A `Method` is a frozen dataclass of its own settings and no state, so that it can be compared, saved and used again.
`Method.start` gives a learner: the method at work on one network, with a memory and a state to go on from.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from spikelore.errors import InputError, check_whole
from spikelore.networks.protocol import Differentiable, Features, Network, Synapses, Units
from spikelore.shapes import Images, Labels

_LARGEST_BATCH = 100_000

NEEDED: dict[type, tuple[str, str]] = {
    Differentiable: ("gradients of its output spikes", "module"),
    Features: ("frozen layers whose spikes can be stored", "feature_shape"),
    Units: ("output units that can be taken out and put in", "with_fresh_units"),
    Synapses: ("synapses that know when they were last used", "synapses"),
}
"""Each capability in words, and a name that a network with it has."""


class Learner(Protocol):
    """A method at work on one network.

    It may also have ``deciding``, the network that decides, if that is another; ``questions``, how often it was asked,
    which what it draws when asked depends on; and ``reported_accuracy(found, held_out, task)``, what is reported of the
    task just learned in place of the accuracy found.

    Attributes:
        network: that learns.
        drop_last: whether a shorter last batch of a task is left out.
    """

    network: Any
    drop_last: bool

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels that it knows."""
        ...

    @property
    def memory_images(self) -> int:
        """Places for examples of earlier tasks; how many are held, where each has a length of its own."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes of all that is kept of earlier tasks."""
        ...

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear that a task begins (not in a task-free stream)."""
        ...

    def begin_epoch(self, task: int) -> None:
        """Hear that a pass over a task's inputs begins (not in a task-free stream)."""
        ...

    def end_task(self, task: int) -> None:
        """Hear that a task has ended (not in a task-free stream)."""
        ...

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for further classes and tasks."""
        ...

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Learn from a batch of new inputs, told to be of task number ``task``, -1 for not told; return the loss."""
        ...

    def asked(self) -> AbstractContextManager[None]:
        """While the block runs, the network is the one that decides; afterwards learning goes on undisturbed."""
        ...

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Return the class in ``among`` that each input is decided for; -1 for none."""
        ...

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return everything that decides how learning goes on: arrays by name, and the rest as JSON."""
        ...

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned for a learner that was started alike."""
        ...


@dataclass(frozen=True, kw_only=True)
class Method:
    """What keeps knowledge; every method is a subclass with its own settings as further fields.

    Attributes:
        name: in tables and files.
        needs: capabilities of a network that it cannot do without.
        boundaries: whether it must be told where tasks begin and end.
        listens: whether being told changes what it does; say False only if it surely does not.
        learner: class of its learners, or ``module:Class``, imported at the first start. It is called with the method,
            the network, ``seed`` and ``tasks``.
        local_learner: the same for networks without gradients; empty where ``learner`` is for every network.
        epochs: passes over each task; 1 in a task-free stream.
        batch: new inputs a step.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = ()
    boundaries: ClassVar[bool] = False
    listens: ClassVar[bool] = True
    learner: ClassVar[Any]
    local_learner: ClassVar[Any] = ""

    epochs: int = 1
    batch: int = 32

    def __post_init__(self) -> None:
        for setting in ("epochs", "batch"):
            check_whole(setting, getattr(self, setting), 1)
        for setting in ("batch", "replay_batch"):
            if getattr(self, setting, 0) > _LARGEST_BATCH:
                raise InputError(
                    f"{setting} is {getattr(self, setting)}, expected at most {_LARGEST_BATCH:,}, which a step holds "
                    "all at once; choose a smaller number"
                )

    def why_not(self, network: Any) -> str | None:
        """Return in a sentence why the method has no meaning on a network (or class of networks); None if it has.

        A subclass may know more reasons than what `needs` says.
        """
        if hasattr(network, "forward") and not hasattr(network, "learn_"):
            return f"{self.name} needs a network, and {name_of(network)} is a torch module that is not wrapped as one"
        return next(filter(None, (cannot(self.name, each, network) for each in self.needs)), None)

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner of the network, which it changes.

        Args:
            network: to learn; fresh or trained.
            seed: root seed of all that the method draws.
            tasks: number of tasks to come, for memories that divide by task.

        Raises:
            InputError: the network lacks what the method needs, or does not fit its settings.
        """
        if isinstance(network, type):
            raise InputError(f"the network is the class {network.__name__}, expected a network; make one of it first")
        self.check(network)
        learner = self.local_learner if self.local_learner and not hasattr(network, "module") else self.learner
        if isinstance(learner, str):
            module, _, name = learner.partition(":")
            learner = getattr(import_module(module), name)
        return learner(self, network, seed=seed, tasks=tasks)

    def check(self, network: Any) -> None:
        """Raise `InputError` with the sentence of `why_not`, if there is one."""
        if reason := self.why_not(network):
            raise InputError(f"{reason}; choose another method or network")


def cannot(method: str, capability: type, network: Any) -> str | None:
    """Return in a sentence that a network lacks a capability that a method needs; None if it has it."""
    words, member = NEEDED[capability]
    if hasattr(network, member):
        return None
    return f"{method} needs {words}, which a {name_of(network)} network does not have"


def name_of(network: Any) -> str:
    """Return a network's name, also of one that says none."""
    return getattr(network, "name", None) or (network if isinstance(network, type) else type(network)).__name__


def why_not(method: Method, network: Any) -> str | None:
    """Return in a sentence why a method has no meaning on a network or class of networks; None if it has.

    Example:
        >>> from spikelore.continual.methods import DarkReplay, MemorySettings
        >>> from spikelore.networks.rate_lif import RateLIFNetwork
        >>> why_not(DarkReplay(memory=MemorySettings(images=100)), RateLIFNetwork)
        'der++ needs gradients of its output spikes, which a rate-lif network does not have'
    """
    return method.why_not(network)

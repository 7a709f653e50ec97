"""The story that the demo tells, as data. `demesh.demo.stage` plays it.

Each act says what happens, makes it happen, and waits for what the nodes themselves say of it.
"""

from dataclasses import dataclass

from demesh.demo.sight import CheckSight, Sight
from demesh.demo.targets import How

NODES = ("fra", "nyc", "lab")
CHECKS = ("shop", "api", "db")
ALL_UP = tuple(CheckSight(name, "up", passing=3) for name in CHECKS)
ALL_WELL = Sight(ALL_UP, tuple((name, "alive") for name in NODES))


@dataclass(frozen=True, slots=True)
class Tell:
    """Say this to the person."""

    text: str


@dataclass(frozen=True, slots=True)
class Start:
    node: str


@dataclass(frozen=True, slots=True)
class Kill:
    node: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End a node in good order."""

    node: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Have a target answer so from now on, to one node or to everybody."""

    target: str
    how: How
    to: str | None = None


@dataclass(frozen=True, slots=True)
class See:
    """Wait until every node that runs says so; `claim` is what is true then."""

    claim: str
    sight: Sight
    seconds: int


@dataclass(frozen=True, slots=True)
class Rings:
    """Wait until the phone rings for this alert."""

    title: str
    seconds: int = 20


@dataclass(frozen=True, slots=True)
class Ends:
    """Wait until the phone says that this alert has ended."""

    title: str
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Quiet:
    """Watch for so long that the phone says nothing."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Look:
    """Show what `demesh status` says on a node."""

    node: str


Step = Tell | Start | Kill | Stop | Answer | See | Rings | Ends | Quiet | Look


@dataclass(frozen=True, slots=True)
class Act:
    title: str
    steps: tuple[Step, ...]

    @property
    def rings(self) -> list[str]:
        """For what the phone rings in this act, and for nothing else."""
        return [step.title for step in self.steps if isinstance(step, Rings)]


_SLOW_SECONDS = 60
"""What takes three seconds on an idle machine may take long on a busy one."""

ACTS = (
    Act(
        "Three nodes find each other",
        (
            Tell(
                "fra, nyc and lab stand for machines in three places. Each looks at shop, api and db from where it is, signs "
                "what it finds and shares it with the others. There is no server: ask any one, and it answers for all."
            ),
            *(Start(name) for name in NODES),
            See("all three have found each other, and agree that all is up", ALL_WELL, 90),
            Tell(
                "This is what any of them says. SEEN BY tells from where it works (✔), and from where it does not (✖)."
            ),
            Look("fra"),
        ),
    ),
    Act(
        "The shop breaks",
        (
            Tell("The shop now answers everybody with status 503."),
            Answer("shop", How.UNAVAILABLE),
            See(
                "all three say that shop is down",
                Sight((CheckSight("shop", "down", passing=0, failing=3), *ALL_UP[1:])),
                _SLOW_SECONDS,
            ),
            Rings("DemeshCheckDown shop"),
            Tell(
                "Every node told your phone (at home: your Alertmanager) in the same words, so it is one alert: it rang once. "
                "This is how it looks on nyc; on fra and lab it is the same."
            ),
            Look("nyc"),
            Tell("The shop is mended."),
            Answer("shop", How.WELL),
            See("all three say that shop is up again", ALL_WELL, _SLOW_SECONDS),
            Ends("DemeshCheckDown shop"),
        ),
    ),
    Act(
        "Only one place has trouble",
        (
            Tell("Now api fails for nyc alone. For fra and lab it works."),
            Answer("api", How.UNAVAILABLE, to="nyc"),
            See(
                "all three say that api is partial: a minority sees it fail",
                Sight((ALL_UP[0], CheckSight("api", "partial", passing=2, failing=1), ALL_UP[2])),
                _SLOW_SECONDS,
            ),
            Quiet(3),
            Tell(
                "You can see it, but nobody is woken up: it takes a majority for that, unless you say otherwise "
                '(quorum = "any").'
            ),
            Look("fra"),
            Tell("Now it works for nyc, too."),
            Answer("api", How.WELL),
            See("api is mended, and all three say so", ALL_WELL, _SLOW_SECONDS),
        ),
    ),
    Act(
        "A node dies without a word",
        (
            Tell(
                "lab is killed (kill -9), as by a power cut. Each entry that a node writes says when the next will come: here "
                "within 7 s. After that it is suspect, 10 s later silent. With the defaults, not these short times, it is 35 s."
            ),
            Kill("lab"),
            See(
                "fra and nyc say that lab is silent",
                Sight(nodes=(("lab", "silent"),), incidents=(("DemeshNodeSilent", "lab"),)),
                90,
            ),
            Rings("DemeshNodeSilent lab"),
            Tell("The checks go on: fra and nyc are the majority now."),
            Look("fra"),
            Tell("lab gets its power back."),
            Start("lab"),
            See("lab is back and goes on with its log; all three agree again", ALL_WELL, 90),
            Ends("DemeshNodeSilent lab"),
        ),
    ),
    Act(
        "A node is stopped on purpose",
        (
            Tell("lab is stopped in good order, as for a reboot. Its last entry says goodbye: it is away, not silent."),
            Stop("lab"),
            See("fra and nyc say that lab is away", Sight(nodes=(("lab", "away"),)), _SLOW_SECONDS),
            Quiet(3),
            Tell("Your phone stays quiet. Only if lab is not back in ten minutes would it be missed."),
            Look("nyc"),
            Start("lab"),
            See("lab is back, and all is up", ALL_WELL, 90),
        ),
    ),
)
"""Acts in the order in which they are played. Each leaves all as it found it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person may do when the story is over."""

    key: str
    what: str
    steps: tuple[Step, ...]


CHOICES = (
    Choice("1", "shop answers 503 to everybody", (Answer("shop", How.UNAVAILABLE),)),
    Choice("2", "shop hangs, and answers nobody", (Answer("shop", How.HANG),)),
    Choice("3", "db refuses connections", (Answer("db", How.REFUSE),)),
    Choice("4", "api fails for nyc only", (Answer("api", How.UNAVAILABLE, to="nyc"),)),
    Choice("5", "kill lab", (Kill("lab"),)),
    Choice("6", "stop lab in good order", (Stop("lab"),)),
    Choice("0", "mend everything", (*(Answer(name, How.WELL) for name in CHECKS), *(Start(name) for name in NODES))),
)

"""The story is one that can be played: everything in it exists, and every act leaves all as it found it."""

from demesh.demo.story import (
    ACTS,
    ALL_WELL,
    CHECKS,
    CHOICES,
    NODES,
    Answer,
    Ends,
    Kill,
    Look,
    See,
    Start,
    Step,
    Stop,
)
from demesh.demo.targets import How


def _steps() -> list[Step]:
    return [step for part in (*ACTS, *CHOICES) for step in part.steps]


def test_it_names_only_what_there_is() -> None:
    for step in _steps():
        match step:
            case Start(node) | Kill(node) | Stop(node) | Look(node):
                assert node in NODES
            case Answer(target, _, to):
                assert target in CHECKS
                assert to in (None, *NODES)
                assert to is None or target == "api", "only api can tell the nodes apart"
            case See(_, sight):
                assert {each.name for each in sight.checks} <= set(CHECKS)
                assert {name for name, _ in sight.nodes} <= set(NODES)
            case _:
                pass


def test_every_act_ends_with_all_well_and_nothing_ringing() -> None:
    running: set[str] = set()
    for act in ACTS:
        broken: set[str] = set()
        for step in act.steps:
            match step:
                case Start(node):
                    running.add(node)
                case Kill(node) | Stop(node):
                    running.discard(node)
                case Answer(target, how):
                    (broken.discard if how is How.WELL else broken.add)(target)
                case _:
                    pass
        assert running == set(NODES)
        assert not broken
        assert [step for step in act.steps if isinstance(step, See)][-1].sight == ALL_WELL
        assert act.rings == [step.title for step in act.steps if isinstance(step, Ends)]


def test_the_phone_rings_for_what_is_down_and_who_is_silent_and_for_nothing_else() -> None:
    assert [act.rings for act in ACTS] == [[], ["DemeshCheckDown shop"], [], ["DemeshNodeSilent lab"], []]


def test_the_choices_can_be_told_apart_and_all_be_mended() -> None:
    keys = [choice.key for choice in CHOICES]
    assert len(set(keys)) == len(keys)
    mend = CHOICES[-1].steps
    assert {step.node for step in mend if isinstance(step, Start)} == set(NODES)
    assert {(step.target, step.how) for step in mend if isinstance(step, Answer)} == {
        (name, How.WELL) for name in CHECKS
    }

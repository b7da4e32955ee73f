from __future__ import annotations

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.separation.grid import plan_track
from mismo_grpc.separation.scheduler import ScheduledJob, Scheduler

RATE = 100


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_job(
    priority: int = 2, submitted_at: float = 0.0, key: str = "model", start_frame: int = 0
) -> ScheduledJob:
    plan = plan_track(1000, RATE, [120])
    made = ScheduledJob(plan, RATE, priority, submitted_at, key, start_frame=start_frame)
    made.pending.update(range(len(plan.segments)))
    return made


def drain(scheduler: Scheduler, max_batch: int = 1) -> list[tuple[ScheduledJob, int]]:
    taken: list[tuple[ScheduledJob, int]] = []
    while batch := scheduler.take(max_batch, timeout=0):
        taken.extend((task.job, task.segment.index) for task in batch)
    return taken


def test_a_higher_class_overtakes_between_two_segments() -> None:
    scheduler = Scheduler(Clock())
    low, high = a_job(priority=1), a_job(priority=3, submitted_at=99.0)
    scheduler.add(low)
    assert scheduler.take(1)[0].job is low
    scheduler.add(high)
    order = drain(scheduler)
    assert [owner for owner, _ in order[: len(high.plan.segments)]] == [high] * len(high.plan.segments)
    assert {owner for owner, _ in order[len(high.plan.segments) :]} == {low}


def test_first_come_first_served_within_a_class() -> None:
    scheduler = Scheduler(Clock())
    second, first = a_job(submitted_at=2.0), a_job(submitted_at=1.0)
    scheduler.add(second)
    scheduler.add(first)
    assert [owner for owner, _ in drain(scheduler)][:12] == [first] * 12


def test_segments_come_in_the_order_playback_needs_them_then_from_the_start() -> None:
    scheduler = Scheduler(Clock())
    mine = a_job()
    scheduler.add(mine)
    scheduler.follow(mine, "player", 500)
    starts = [mine.plan.segments[index].start for _, index in drain(scheduler)]
    first = next(i for i, s in enumerate(starts) if s == 0)
    assert all(s + 120 > 500 for s in starts[:first])
    assert starts[:first] == sorted(starts[:first])
    assert starts[first:] == sorted(starts[first:])


def test_a_job_whose_hint_is_withdrawn_goes_on_from_the_start_and_waits_like_any_other() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    hinted, other = a_job(submitted_at=clock(), start_frame=500), a_job(submitted_at=clock() - 1)
    for job in (hinted, other):
        scheduler.add(job)
    scheduler.suggest(hinted, 500)
    first = scheduler.take(1)[0]
    assert (first.job, first.segment.end > 500) == (hinted, True)
    scheduler.suggest(hinted, None)
    order = drain(scheduler)
    assert [job for job, _ in order[: len(other.plan.segments)]] == [other] * len(other.plan.segments)
    left = [index for job, index in order if job is hinted]
    assert left == sorted(left)
    assert left[0] == 0


def test_a_player_that_follows_is_served_though_a_hint_is_withdrawn() -> None:
    scheduler = Scheduler(Clock())
    mine = a_job()
    scheduler.add(mine)
    scheduler.follow(mine, "player", 800)
    scheduler.suggest(mine, None)
    assert mine.plan.segments[drain(scheduler)[0][1]].end > 800


def test_a_seek_reorders_what_is_left() -> None:
    scheduler = Scheduler(Clock())
    mine = a_job()
    scheduler.add(mine)
    scheduler.follow(mine, "player", 0)
    assert scheduler.take(1)[0].segment.index == 0
    scheduler.follow(mine, "player", 800)
    segment = scheduler.take(1)[0].segment
    assert segment.start <= 800 < segment.end


def test_a_players_own_word_counts_more_than_a_hint() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    mine = a_job()
    scheduler.add(mine)
    scheduler.suggest(mine, 0)
    assert scheduler.take(1)[0].segment.index == 0
    clock.now += 5
    scheduler.follow(mine, "player", 800)
    for _ in range(2):
        segment = scheduler.take(1)[0].segment
        assert segment.end > 800


def test_a_followed_job_goes_before_one_that_nobody_hears_yet_not_for_ever() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    quiet, followed = a_job(submitted_at=clock.now), a_job(submitted_at=clock.now + 1)
    scheduler.add(quiet)
    scheduler.add(followed)
    scheduler.follow(followed, "player", 0)
    assert scheduler.take(1)[0].job is followed
    clock.now += 3600
    scheduler.follow(followed, "player", 0)
    assert scheduler.take(1)[0].job is quiet


def test_two_players_of_one_job_are_both_served() -> None:
    scheduler = Scheduler(Clock())
    mine = a_job()
    scheduler.add(mine)
    scheduler.follow(mine, "a", 0)
    scheduler.follow(mine, "b", 600)
    first, second = (scheduler.take(1)[0].segment for _ in range(2))
    assert {first.start <= 0 < first.end, second.start <= 600 < second.end} == {True}


def test_a_batch_holds_segments_of_several_jobs_but_of_one_model() -> None:
    scheduler = Scheduler(Clock())
    short = [a_job(), a_job(), a_job(key="another")]
    for each in short:
        each.pending = {0}
        scheduler.add(each)
    batch = scheduler.take(8)
    assert [task.job for task in batch] == short[:2]


def test_a_segment_given_back_is_handed_out_again() -> None:
    scheduler = Scheduler(Clock())
    mine = a_job()
    scheduler.add(mine)
    task = scheduler.take(1)[0]
    scheduler.give_back(task)
    assert scheduler.take(1)[0].segment == task.segment


def test_lower_classes_wait_while_a_more_urgent_job_is_made_ready_but_not_for_long() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    low, high = a_job(priority=1), a_job(priority=3)
    scheduler.add(low)
    with scheduler.expecting(3):
        assert scheduler.take(1, timeout=0) == []
        clock.now += 10
        assert scheduler.take(1, timeout=0)[0].job is low
    with scheduler.expecting(3):
        scheduler.add(high)
        assert scheduler.take(1, timeout=0)[0].job is high
    scheduler.remove(high)
    assert scheduler.take(1, timeout=0)[0].job is low


def test_a_job_does_not_hold_back_its_own_class_or_a_higher_one() -> None:
    scheduler = Scheduler(Clock())
    normal = a_job(priority=2)
    scheduler.add(normal)
    with scheduler.expecting(1), scheduler.expecting(2):
        assert scheduler.take(1, timeout=0)[0].job is normal


def test_closing_frees_a_device_that_waits() -> None:
    scheduler = Scheduler(Clock())
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(scheduler.take(1)))
    waiting.start()
    scheduler.close()
    waiting.join(5)
    assert taken == [[]]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 999), st.booleans()), min_size=1, max_size=4))
def test_every_segment_is_handed_out_exactly_once(kinds: list[tuple[int, int, bool]]) -> None:
    scheduler = Scheduler(Clock())
    jobs: list[ScheduledJob] = []
    for priority, frame, followed in kinds:
        mine = a_job(priority, start_frame=frame)
        jobs.append(mine)
        scheduler.add(mine)
        if followed:
            scheduler.follow(mine, "player", frame)
    order = drain(scheduler, 3)
    assert sorted((id(owner), index) for owner, index in order) == sorted(
        (id(mine), segment.index) for mine in jobs for segment in mine.plan.segments
    )


def test_a_segment_whose_batch_failed_shares_none_any_more() -> None:
    scheduler = Scheduler(Clock())
    mine, urgent = a_job(), a_job(priority=3)
    scheduler.add(mine)
    for task in scheduler.take(2):
        scheduler.give_back(task)
    urgent.pending = {0}
    scheduler.add(urgent)
    batches = [[(task.job, task.segment.index) for task in scheduler.take(2)] for _ in range(4)]
    assert batches == [[(urgent, 0)], [(mine, 0)], [(mine, 1)], [(mine, 2), (mine, 3)]]


@given(
    kinds=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 999), st.booleans()), min_size=1, max_size=4),
    begun=st.integers(0, 12),
    needed=st.sets(st.integers(0, 10), min_size=1, max_size=3),
)
def test_how_many_segments_go_first_is_what_is_handed_out_before(
    kinds: list[tuple[int, int, bool]], begun: int, needed: set[int]
) -> None:
    scheduler = Scheduler(Clock())
    jobs: list[ScheduledJob] = []
    for number, (priority, frame, followed) in enumerate(kinds):
        mine = a_job(priority, submitted_at=float(number), start_frame=frame)
        jobs.append(mine)
        scheduler.add(mine)
        if followed:
            scheduler.follow(mine, "player", frame)
    for _ in range(begun):
        scheduler.take(1, timeout=0)
    mine = jobs[0]
    waits = needed & mine.pending
    assert scheduler.is_taken(mine, needed) == bool(needed & mine.running)
    ahead = scheduler.ahead_of(mine, needed)
    taken: list[tuple[ScheduledJob, int]] = []
    while waits - {index for owner, index in taken if owner is mine}:
        task = scheduler.take(1, timeout=0)[0]
        taken.append((task.job, task.segment.index))
    assert {id(job): count for job, count in ahead if count} == Counter(id(owner) for owner, _ in taken)


def test_whoever_waits_for_a_job_is_told_when_a_segment_of_it_is_taken() -> None:
    clock = Clock()
    scheduler = Scheduler(clock)
    mine, other = a_job(), a_job(submitted_at=1.0)
    told: list[str] = []
    mine.on_taken = lambda: told.append("mine")
    scheduler.add(mine)
    scheduler.add(other)
    assert scheduler.taken_ago is None
    task = scheduler.take(1)[0]
    clock.now += 2.0
    assert (told, scheduler.taken_ago) == (["mine"], 2.0)
    scheduler.finish(task)
    assert scheduler.taken_ago is None

"""Execute a session: train from where a run is to its end, and score what was learned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from polyak.envs.functional import CompiledEnv
from polyak.envs.gymnasium import VectorEnv, episode_seed
from polyak.envs.workers import Workers
from polyak.errors import Interrupted, RunError, UsageError
from polyak.runs import folder as folders
from polyak.runs import interrupts, request, scores, trust
from polyak.runs.audience import Audience, Listeners
from polyak.runs.interrupts import Interrupts
from polyak.runs.opening import Opening
from polyak.runs.plot import plot
from polyak.runs.policy import Saved
from polyak.runs.progress_line import ProgressLine, someone_looks
from polyak.runs.request import AnyEnvs
from polyak.runs.session import SCORING, Session
from polyak.runs.status import Status
from polyak.training import devices
from polyak.training.device import DeviceLoop
from polyak.training.device_evaluate import DeviceEvaluator
from polyak.training.evaluate import Evaluator
from polyak.training.host import HostLoop
from polyak.training.job import Job
from polyak.training.protocols import Loop

if TYPE_CHECKING:
    from polyak.runs.run import Run


def prepare(seeds: Sequence[int]) -> Interrupts:
    """Start JAX, and listen for Ctrl-C."""
    devices.prepare(len(seeds))
    return listen()


def listen() -> Interrupts:
    """From here on there is what must be closed when Ctrl-C is pressed."""
    heard = interrupts.active()
    heard.starting = False
    return heard


def execute(run: Run, claim: folders.Claim, job: Job[AnyEnvs], audience: Audience, opening: Opening) -> Run:
    """Train `run` from where it is to its end, score what was learned, and return it."""
    began, heard = time.monotonic(), interrupts.active()
    shown = someone_looks() if audience.quiet is None else not audience.quiet
    progress = ProgressLine(job.plan.env_steps, len(job.seeds), shown)
    going_on = f"went on: {trust.command('resume', run.folder, run.record)}" if opening.resumed else "began"
    heard.last_words = lambda: f"stopped before training {going_on}"
    with (
        devices.Compiling() as compiling,
        contextlib.closing(progress),
        contextlib.closing(job.envs),
    ):
        loop = _loop_of(job, run.record.devices or None)
        run.record.devices = loop.sharding.num_devices
        if opening.state is not None:
            loop.start_from(opening.state)
        for sentence in _announced(run, job, loop, opening):
            progress.say(sentence)
        scorer = request.scorer_of(run.source(), job, heard.check)
        scorer.verdict = loop.verdict
        evaluator = DeviceEvaluator(cast(Job[CompiledEnv], job)) if isinstance(job.envs, CompiledEnv) else scorer
        session = Session(claim, run.record, job, loop, evaluator, Listeners(progress, audience))
        status = Status(run.folder, run.record, session, compiling)
        with contextlib.closing(scorer), contextlib.closing(session.log):
            session.resume() if opening.resumed else session.save()
            status.setup = time.monotonic() - began
            _to_the_end(run, session, scorer, heard, status)
    if session.evaluated.any():
        with contextlib.suppress(UsageError):  # no reason to fail: `polyak plot` says what is wrong
            plot([run.place], run.place / "curve.png")
    return run


def _loop_of(job: Job[AnyEnvs], most_devices: int | None) -> Loop:
    """Make the loop that steps a job's environments."""
    if isinstance(job.envs, CompiledEnv):
        return DeviceLoop(cast(Job[CompiledEnv], job), most_devices)
    return HostLoop(cast(Job[VectorEnv | Workers], job), most_devices)


def _announced(run: Run, job: Job[AnyEnvs], loop: Loop, opening: Opening) -> Iterator[str]:
    """Say what is trained, what was changed for it, and what may surprise."""
    yield request.heading(run.record, job)
    if opening.resumed:
        yield from opening.messages
    else:
        yield from run.record.fitted
        yield from [run.record.warning] if run.record.warning else []
        yield from request.warnings_of(run.source(), job.plan, job.envs.limit)
    if not (loop.verdict.in_numpy or isinstance(job.envs, CompiledEnv)):  # there all is compiled
        yield f"actions are chosen by a compiled program, which is slower: {loop.verdict.reason}"


def _to_the_end(run: Run, session: Session, scorer: Evaluator, heard: Interrupts, status: Status) -> None:
    """Train and score, and write down what became of it."""
    status.write("training")
    heard.last_words, heard.before_force, heard.patient = status.how_to_go_on, status.write_forced, True
    try:
        session.train(heard)
        if session.stopped and not session.loop.counts.done:
            run.record.stopped = status.why_stopped()
            session.progress.say(run.record.stopped)
        made = int(session.loop.counts.updates.min())
        if session.plan.by_episode and made < request.FEW_UPDATES:
            session.progress.say(f"training made only {made} updates, because they follow each episode: train longer")
        heard.patient = False  # all is saved
        heard.check()
        given = (scorer, session.plan.score_episodes, True, 0)
        run.record.scores = {which: score(run.saved, which, *given) for which in ("final", "best")}
        status.write("finished")
    except (KeyboardInterrupt, RunError) as error:
        with heard.holding():
            if isinstance(error, KeyboardInterrupt) or heard.final:
                with contextlib.suppress(RunError):  # what is saved is saved, whatever run.json says of it
                    status.write("interrupted")
                raise Interrupted(status.how_to_go_on()) from None
            with contextlib.suppress(RunError):  # what failed first is what the user must know
                status.write("failed", str(error))
        raise RunError(f"{error}; {status.what_is_kept()}") from error


def score(
    saved: Saved, which: str, evaluator: Evaluator, episodes: int, deterministic: bool, seed: int
) -> scores.Summary:
    """Play episodes with every seed's policy and summarize them."""
    seeds = [[episode_seed(lane, seed, i, SCORING) for i in range(episodes)] for lane in saved.seeds]
    played = evaluator.play(saved.tree(which), seeds, explore=not deterministic)
    return scores.summary(played, saved.seeds, which, deterministic)

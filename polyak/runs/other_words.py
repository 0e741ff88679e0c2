"""Names that other libraries, papers and tutorials give to settings, and what they are called here."""

import dataclasses
from collections.abc import Iterable

from polyak import algorithms
from polyak.errors import UsageError, option
from polyak.training.plans import PLANS, plan_for
from polyak.types import Algorithm

TOP = ("steps", "seeds", "preset", "backend", "out", "quiet")  # arguments beside config and plan

RATES = ("config.learning_rate", "config.actor_learning_rate", "config.critic_learning_rate")
LAYERS = (
    *("config.layers", "config.actor_layers", "config.critic_layers", "config.critic_joint_layers"),
    *("config.value_layers", "config.baseline_layers"),
)
BATCH = ("config.minibatch", "plan.batch", "plan.rollout_length")
ROLLOUT = ("plan.rollout_length",)
REWARDS = ("config.normalize_rewards", "config.reward_scale")
EXPLORATION = ("config.noise_sigma", "config.noise", "config.noise_correlation", "config.epsilon_end")

LAST_RESORT = ("plan.rollout_length", "steps")  # suggested only if nothing closer exists

SAID = {
    "device": "JAX chooses the device: set JAX_PLATFORMS=cpu or JAX_PLATFORMS=cuda in the environment",
    "env": "name the algorithm and the environment first: polyak train ddpg Pendulum-v1",
    "env_kwargs": "give each argument of the environment a flag of its own: --env.g 4.0",
    "load": "`polyak resume RUN` continues a run, and `polyak train ddpg ENV --from RUN` starts another from it",
    "render": "training draws nothing: `polyak watch RUN` shows the agent",
    "verbose": "progress is shown by default; quiet turns it off",
}

# a word without underscores → candidate settings, of which those that the algorithm has are suggested; or a sentence
WORDS: dict[str, tuple[str, ...] | str] = {
    **dict.fromkeys(("lr", "learningrate", "stepsize"), RATES),
    **dict.fromkeys(("actorlr", "lractor", "pilr", "policylr"), RATES[:2]),
    **dict.fromkeys(("criticlr", "lrcritic", "qlr", "qflr", "vflr", "valuelr"), (RATES[0], RATES[2])),
    **dict.fromkeys(("batch", "batchsize", "bs", "minibatchsize", "minibatches", "numminibatches"), BATCH),
    **dict.fromkeys(
        ("totaltimesteps", "timesteps", "totalsteps", "ntimesteps", "maxsteps", "maxtimesteps", "budget"), ("steps",)
    ),
    **dict.fromkeys(("episodes", "nepisodes", "numepisodes", "maxepisodes"), ("plan.episodes", "steps")),
    **dict.fromkeys(("nsteps", "numsteps", "rolloutlength", "horizon", "unrolllength"), ("config.n_step", *ROLLOUT)),
    **dict.fromkeys(("stepsperepoch", "trainfreq", "updateevery", "trainfrequency"), ("plan.updates", *ROLLOUT)),
    **dict.fromkeys(("gradientsteps", "utd", "utdratio", "numupdates", "replayratio"), ("plan.updates",)),
    **dict.fromkeys(("netarch", "hiddensizes", "hiddendim", "hiddenlayers", "hiddensize", "layers"), LAYERS),
    "policykwargs": (*LAYERS, "config.activation"),
    **dict.fromkeys(("buffersize", "replaysize", "replaybuffersize", "memorysize"), ("plan.capacity",)),
    **dict.fromkeys(("nenvs", "numenvs"), ("plan.envs",)),
    **dict.fromkeys(("numworkers", "nworkers", "njobs", "ncpus"), ("plan.workers",)),
    **dict.fromkeys(("learningstarts", "startsteps", "startsteps", "randomsteps", "warmupsteps"), ("plan.warmup",)),
    **dict.fromkeys(("entcoef", "entropycoef", "entropycoeff", "beta"), ("config.entropy_coefficient", "config.alpha")),
    **dict.fromkeys(("temperature", "initalpha"), ("config.alpha",)),
    **dict.fromkeys(("autotune", "autoalpha"), ("config.learn_alpha",)),
    **dict.fromkeys(("vfcoef", "valuecoef", "vfcoeff"), ("config.value_coefficient",)),
    **dict.fromkeys(("nepochs", "updateepochs", "numepochs", "epochs"), ("config.epochs",)),
    **dict.fromkeys(("cliprange", "clipratio", "clipcoef", "clipparam", "epsclip"), ("config.clip",)),
    "cliprangevf": ("config.value_clip",),
    **dict.fromkeys(("maxgradnorm", "gradclip", "clipgrad"), ("config.gradient_norm",)),
    **dict.fromkeys(("gaelambda", "lambda", "lmbda"), ("config.lam",)),
    **dict.fromkeys(("discount", "discountfactor"), ("config.gamma",)),
    **dict.fromkeys(("polyak", "polyaktau", "softtau", "targetsmoothing"), ("config.tau",)),
    **dict.fromkeys(("targetupdateinterval", "targetnetworkfrequency", "targetupdatefreq"), ("config.target_period",)),
    **dict.fromkeys(("explorationfraction", "epsdecay", "epsilondecay"), ("config.epsilon_fraction",)),
    **dict.fromkeys(("explorationinitialeps", "starte", "epsstart"), ("config.epsilon_start",)),
    **dict.fromkeys(("explorationfinaleps", "ende", "epsend", "epsilon", "eps"), ("config.epsilon_end",)),
    **dict.fromkeys(("actionnoise", "explorationnoise", "noisestd", "actnoise"), EXPLORATION),
    **dict.fromkeys(("targetpolicynoise", "targetnoise", "policynoise"), ("config.smoothing_sigma",)),
    **dict.fromkeys(("targetnoiseclip", "noiseclip"), ("config.smoothing_clip",)),
    **dict.fromkeys(("policyfrequency", "policyfreq", "policydelay"), ("config.policy_delay",)),
    **dict.fromkeys(("normalizeadvantage", "normadv"), ("config.normalize_advantages",)),
    **dict.fromkeys(("normobs", "normalizeobs", "obsnorm"), ("config.normalize_observations",)),
    **dict.fromkeys(("normreward", "normalizereward", "rewardscaling"), REWARDS),
    "targetkl": ("config.target_kl",),
    **dict.fromkeys(("evalfreq", "evalinterval", "evaluationinterval", "evalevery"), ("plan.evaluations",)),
    **dict.fromkeys(("nevalepisodes", "evalepisodes", "numevalepisodes"), ("plan.evaluation_episodes",)),
    **dict.fromkeys(("savefreq", "checkpointfreq", "saveinterval", "saveevery"), ("plan.checkpoint_seconds",)),
    **dict.fromkeys(("tensorboardlog", "logdir", "logfolder", "savepath", "output", "outdir", "outputdir"), ("out",)),
    "silent": ("quiet",),
    **dict.fromkeys(("verbose", "progressbar"), SAID["verbose"]),
    **dict.fromkeys(("seed", "numseeds", "randomseed", "nseeds"), ("seeds",)),
    **dict.fromkeys(("device", "cuda", "gpu", "cpu"), SAID["device"]),
    **dict.fromkeys(("env", "envid", "envname", "algo", "algorithm", "policy"), SAID["env"]),
    **dict.fromkeys(("envkwargs", "envargs", "envconfig"), SAID["env_kwargs"]),
    **dict.fromkeys(("render", "rendermode"), SAID["render"]),
    **dict.fromkeys(("load", "loadpath", "checkpoint"), SAID["load"]),
}  # fmt: skip


def explained(word: str, module: Algorithm) -> str:
    """Say what an unknown setting of an algorithm may mean; "" if nothing is known."""
    name = word.replace("-", "_").rpartition(".")[2].removeprefix("no_")  # of a switch that a flag turns off
    known = _known(module)
    same = [ours for ours in known if ours.rpartition(".")[2] == name]
    if same:
        return f"did you mean {_listed(same)}?"
    meant = WORDS.get(name.replace("_", "").lower(), ())
    if isinstance(meant, str):
        return meant
    there = [ours for ours in meant if ours in known]
    there = [ours for ours in there if ours not in LAST_RESORT] or there
    if other := _of_another_plan(name, module):
        return f"{other}; use {_listed(there)}" if there else other
    if there:
        return f"it is called {_listed(there)}"
    elsewhere = algorithms.with_setting(name)
    for ours in (ours.removeprefix("config.") for ours in meant):
        found = algorithms.with_setting(ours)
        elsewhere = elsewhere or (f"{found}, as {ours}" if found else "")
    return elsewhere or next(filter(None, (_of_another_plan(ours.removeprefix("plan."), module) for ours in meant)), "")


def _of_another_plan(name: str, module: Algorithm) -> str:
    """Say for which algorithms a setting is that belongs to a plan of another kind; "" if it does not."""
    for kind, plan in PLANS.items():
        if kind != module.learns_from and name in {field.name for field in dataclasses.fields(plan)}:
            return f"{name} is for algorithms that learn from {LEARNED[kind]}, not from {LEARNED[module.learns_from]}"
    return ""


LEARNED = {"replay": "a replay buffer", "rollout": "rollouts"}


def refuse_arguments(function: str, given: Iterable[str], algorithm: Algorithm | str | None = None) -> None:
    """Raise UsageError for keyword arguments that one of polyak's functions lacks, and say what they may mean.

    `algorithm` is the algorithm to train, if known, whose settings they may be.
    """
    for word in given:
        hint = ARGUMENTS[function].get(word.replace("_", "").lower(), "")
        if not hint and function == "train":
            name = algorithms.registered(algorithm) if isinstance(algorithm, str) else None
            hint = explained(word, algorithms.REGISTRY[name or "ddpg"])
        raise UsageError(f"{function} has no argument {word!r}{f': {hint}' if hint else ''}")


STEPS = dict.fromkeys(("totaltimesteps", "timesteps", "totalsteps", "numtimesteps"), "it is called steps")
CALLBACK = dict.fromkeys(("callback", "callbacks"), "on_report is called while a run trains")
VERBOSE = dict.fromkeys(("verbose", "progressbar"), SAID["verbose"])
EPISODES = dict.fromkeys(("nevalepisodes", "numepisodes", "nepisodes"), "it is called episodes")
ARGUMENTS: dict[str, dict[str, str]] = {  # function → other words without underscores → hint
    "train": {**CALLBACK, "seed": "seeds is the number of agents, or a list of their seeds: seeds=[3]"},
    "resume": {**STEPS, **CALLBACK, **VERBOSE},
    "evaluate": {**EPISODES, "explore": "it is called deterministic, and is its opposite"},
}


def _known(module: Algorithm) -> list[str]:
    """List the settings available when training this algorithm."""
    plan = [field.name for field in dataclasses.fields(plan_for(module.learns_from))]
    config = [field.name for field in dataclasses.fields(module.Config)]
    return [*TOP, *(f"config.{name}" for name in config), *(f"plan.{name}" for name in plan)]


def _listed(settings: list[str]) -> str:
    *first, last = map(option, settings)
    return f"{', '.join(first)} or {last}" if first else last

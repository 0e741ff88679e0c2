"""What there is: algorithms with their presets, and environments; for `polyak list` and `polyak train --help`."""

TRAIN = """\
usage: polyak train ALGORITHM ENVIRONMENT [flags]; for example: polyak train ddpg Pendulum-v1 --seeds 5

`polyak train ddpg --help` explains the flags of an algorithm, `polyak train ddpg Pendulum-v1 --help` with their
defaults on that environment. The algorithms:
"""

DISCRETE = ("Acrobot-v1", "CartPole-v1", "LunarLander-v3", "MountainCar-v0")
CONTINUOUS = ("Pendulum-v1", "MountainCarContinuous-v0", "LunarLanderContinuous-v3", "BipedalWalker-v3")


def explain_train() -> None:
    """Print how to train, and the algorithms."""
    from polyak.algorithms import REGISTRY

    print(TRAIN, end="")
    for name, module in REGISTRY.items():
        print(f"  {name:10} {(module.__doc__ or '').splitlines()[0]}")


def algorithms() -> None:
    """Print the algorithms with their presets, and what their default settings do not solve."""
    from polyak.algorithms import REGISTRY
    from polyak.runs.presets import NOT_SOLVED, PRESETS

    for name, module in REGISTRY.items():
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}")
        for preset, variants in PRESETS.get(name, {}).items():
            for variant in variants:
                where = ", ".join(variant.environments) or "any environment"
                print(f"    --preset {preset:9} {where}: {variant.about}")
        for env, why in NOT_SOLVED.get(name, {}).items():
            print(f"    {env} is not solved by default: {why}")


def environments() -> None:
    """Print the names of environments that can be trained on."""
    import gymnasium

    names = sorted(spec.id for spec in gymnasium.registry.values() if spec.id.endswith(("-v5", *CONTINUOUS)))
    print("environments: any of Gymnasium's, or your own as module:Id; with continuous actions there are")
    print("    " + ", ".join(names))
    print("and with discrete actions, whose observations are vectors too,")
    print("    " + ", ".join(DISCRETE))

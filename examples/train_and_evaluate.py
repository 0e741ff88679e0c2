"""Train two agents side by side, score them on fresh episodes, and act with the better one.

python examples/train_and_evaluate.py --steps 20000
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium

import polyak


def main() -> None:
    """Train for `--steps` environment steps per seed; everything is written to a temporary folder."""
    parser = argparse.ArgumentParser(description="Train two agents and evaluate them.")
    parser.add_argument("--steps", type=int, default=2_000, help="environment steps of each seed")
    steps = parser.parse_args().steps

    with tempfile.TemporaryDirectory() as folder:
        plan = {"warmup": min(1_000, steps // 2), "evaluations": 4, "evaluation_episodes": 5, "score_episodes": 5}
        run = polyak.train("ddpg", "Pendulum-v1", steps=steps, seeds=2, plan=plan, out=Path(folder) / "run")

        result = run.evaluate(episodes=10, which="final")
        low, high = result["ci95"]
        print(f"final policies: IQM {result['return_iqm']:.1f}, 95 % interval {low:.1f} to {high:.1f}")
        for row in result["per_seed"]:
            print(f"  seed {row['seed']}: {row['return_mean']:.1f} ± {row['return_std']:.1f}")

        policy = run.policy  # the best policy of the seed that did best while training
        env = gymnasium.make("Pendulum-v1")
        obs, _ = env.reset(seed=0)
        total, ended = 0.0, False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(policy(obs))
            total, ended = total + float(reward), terminated or truncated
        print(f"one episode with the policy of seed {policy.seed}: return {total:.1f}")


if __name__ == "__main__":
    main()

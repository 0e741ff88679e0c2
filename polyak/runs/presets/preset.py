"""The type of presets."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Preset:
    """Settings that differ from the algorithm's defaults; `environments` is empty if they are for any."""

    about: str
    environments: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)
    plan: dict[str, object] = field(default_factory=dict)


Presets = dict[str, tuple[Preset, ...]]  # name → presets for particular environments, and a general one

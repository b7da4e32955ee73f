"""The generators of a server, by name."""

from __future__ import annotations

from collections.abc import Iterable

from mismo_grpc.errors import InvalidFieldError, ModelUnavailableError
from mismo_grpc.generation.generator import StemGenerator
from mismo_grpc.generation.options import GenerationOptions

FIELD = "options.generation.generator"


class Generators:
    """The generators; jobs that name none get the one with the name `default`."""

    def __init__(self, generators: Iterable[StemGenerator], default: str) -> None:
        self._by_name = {generator.name: generator for generator in generators}
        self._default = default

    def named(self, name: str) -> StemGenerator:
        """The generator of a job; raises ModelUnavailableError if this server has none of that name any more."""
        if name not in self._by_name:
            raise ModelUnavailableError(f"this server has no generator {name[:64]!r}; submit the job again")
        return self._by_name[name]

    def choose(self, options: GenerationOptions) -> tuple[StemGenerator, str]:
        """The generator that the options name, and its version. Blocks on the disk for a moment.

        Raises InvalidFieldError if there is none of that name, ModelUnavailableError if it cannot generate.
        """
        name = options.generator or self._default
        generator = self._by_name.get(name)
        if generator is None:
            raise InvalidFieldError(f"{FIELD} must be one of {', '.join(self._by_name)}", field=FIELD)
        if reason := generator.unavailable_reason():
            raise ModelUnavailableError(f"{FIELD}: {reason}", field=FIELD, metadata={"model": name})
        return generator, generator.version()

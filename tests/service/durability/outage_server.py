"""`outage_server.py FILE ARGUMENTS...`: a server whose loudness fails while FILE exists.

It fails as if the blob container were away.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mismo_grpc.command import main
from mismo_grpc.errors import BlobStoreUnavailableError
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import StageResult


def fail_while_it_exists(file: Path) -> None:
    """Makes the loudness fail while the file exists."""
    run = AnalysisStage.run

    async def failing(self: AnalysisStage, context: StageContext) -> StageResult:
        if self.stage is not Stage.LOUDNESS or not file.exists():
            return await run(self, context)
        await context.needs()
        await context.begin()
        raise BlobStoreUnavailableError("the blob container does not respond")

    AnalysisStage.run = failing


if __name__ == "__main__":
    fail_while_it_exists(Path(sys.argv.pop(1)))
    sys.exit(main())

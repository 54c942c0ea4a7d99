"""What a worker does with a job's folder: the analysis, as the command line makes it."""

from pathlib import Path

from multigrain.web.worker import Report


def run(folder: Path, report: Report) -> None:
    """Analyses what was submitted, and writes the result, the report and the table into the folder.

    Args:
        folder: of the job.
        report: is told how far it is.

    Raises:
        MultigrainError: the submission cannot be analysed; the message says why.
    """
    raise NotImplementedError

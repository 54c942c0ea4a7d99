"""The command `multigrain`. Whatever a user can mend is one paragraph on stderr and exit code 2, never a traceback."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from multigrain import __version__
from multigrain.errors import MultigrainError

if TYPE_CHECKING:
    from rich.console import Console

USER_ERROR, INTERRUPTED, TERMINATED = 2, 130, 143


def _show_version(is_asked: bool) -> bool:
    if is_asked:
        typer.echo(f"multigrain {__version__}")
        raise typer.Exit
    return is_asked


def _top(version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Multimodal sentiment analysis in videos: train, evaluate and compare MulT, MCMuT and their baselines."""


def build_app() -> typer.Typer:
    """The command line with all of its commands."""
    from multigrain.cli import analyze, bench, data, evaluate, extract, serve, train
    from multigrain.cli import list as listing

    app = typer.Typer(name="multigrain", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=_top)
    parts = (train, evaluate, extract, analyze, serve, data, bench, listing)
    registers: Sequence[Callable[[typer.Typer], None]] = [part.register for part in parts]
    for register in registers:
        register(app)
    return app


def visible(text: str) -> str:
    """The text with characters that could steer a terminal, such as those of a file's name, as the escapes that stand for them.

    >>> visible("a\\x1b[31m.mp4")
    'a\\\\x1b[31m.mp4'
    """
    return "".join(character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text)


def stderr_console() -> "Console":
    """A console for notes and progress, which are printed on one and the same, so that notes stand above a running bar and not over it."""
    from rich.console import Console

    return Console(stderr=True)


def print_problem(message: str) -> None:
    """Prints one paragraph to stderr, wrapped where stderr is a terminal and in one line elsewhere."""
    from rich.text import Text

    console = stderr_console()
    console.print(Text(visible(message)), soft_wrap=not console.is_terminal)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: as in sys.argv[1:], which they default to.

    Returns:
        The exit code: 0 when all went well, 1 when a command found something wrong with the data, 2 for an error that
        the user can mend, 130 after Ctrl-C.
    """
    warnings.showwarning = _show_warning
    try:
        build_app()(args=arguments, prog_name="multigrain")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except MultigrainError as error:
        print_problem(f"Error: {error}")
        return USER_ERROR
    except KeyboardInterrupt as error:
        print_problem(str(error) or "Interrupted.")
        return INTERRUPTED
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print_problem(f"Warning: {message}")

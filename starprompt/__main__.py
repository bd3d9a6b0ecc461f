"""The program ``starprompt``: Ctrl-C ends it in a sentence from its first lines on."""

from starprompt.machine.termination import end_at_once_from_here_on


def main() -> None:
    """Entry point; the imports of the command line, which take a second, can be interrupted."""
    end_at_once_from_here_on()
    from starprompt.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()

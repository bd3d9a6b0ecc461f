"""The program ``starprompt``: Ctrl-C ends it in a sentence from its first lines on."""

from starprompt.machine import loading


def main() -> None:
    """Entry point; the imports of the command line, which take a second, can be interrupted."""
    loading.begin()
    from starprompt.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()

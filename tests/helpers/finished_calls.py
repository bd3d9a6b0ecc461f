"""Commands about finished runs, called in this process."""

from typer.testing import CliRunner

from starprompt.cli import app


def called(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout

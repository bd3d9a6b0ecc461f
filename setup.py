"""Puts ``config/``, the workflow and its profiles into the wheel; all else is in pyproject.toml.

They stand at the top of a checkout, where users read and edit them, and under
``starprompt/shipped`` in a wheel, where ``starprompt.shipped.find`` looks for them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: from the checkout's top to ``starprompt/shipped``
SHIPPED = {
    "Snakefile": "Snakefile",
    "config": "config",
    "workflow/envs": "workflow/envs",
    "workflow/report": "workflow/report",
    "workflow/rules": "workflow/rules",
    "workflow/schemas": "workflow/schemas",
    "workflow/profiles": "profiles",
}


class BuildWithWorkflow(build_py):
    """Also copies the workflow; an editable install finds it in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, name in SHIPPED.items():
                target = Path(self.build_lib) / "starprompt" / "shipped" / name
                if Path(source).is_dir():
                    shutil.copytree(source, target, dirs_exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithWorkflow})

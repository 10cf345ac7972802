"""Takes the data specs and the results along in a wheel; all else stands in setup.cfg."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

# Data specs are looked for beside the package, results within it: that name is nobody's own.
PLACES = {"data_specs": "data_specs", "results": "repro/results"}


class BuildWithData(build_py):
    """Builds the package with what a checkout has beside it."""

    def run(self):
        """Copy the folders; an installation that points at the checkout has them."""
        super().run()
        if not self.editable_mode:
            unmade = ignore_patterns("latest", ".*")
            for folder, place in PLACES.items():
                copytree(folder, Path(self.build_lib) / place, ignore=unmade, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})

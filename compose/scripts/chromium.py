"""Where the browser of the tests is. The set-up and the tests ask here, so that one is content with what the
other finds.
"""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "Chromium is missing: apt-get install chromium, or set CHROMIUM to its path."


def find_chromium() -> str | None:
    """The path of CHROMIUM where that is set, else of the first of the family; None: there is none."""
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else NAMES
    return next((path for name in names if (path := shutil.which(name))), None)

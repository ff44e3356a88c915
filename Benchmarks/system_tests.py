"""Makes the helpers and the Django site of the system tests importable. Import this module before them."""

import os
import sys
from pathlib import Path

import django

sys.path.append(str(Path(__file__).parents[1] / "Tests/System/lib"))
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()

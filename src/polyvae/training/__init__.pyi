from . import second_stage as second_stage
from .run import Run as Run
from .settings import Settings as Settings
from .store import RunError as RunError

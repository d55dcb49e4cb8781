import sys
from pathlib import Path

# With --import-mode=importlib a test folder is not on the path; the drawn episodes are shared by several tests.
sys.path.append(str(Path(__file__).parent))

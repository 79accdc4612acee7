"""Starting is free: no heavy import before a verb needs it."""

import subprocess
import sys


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from vaest.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'zarr', 'transformers', 'sklearn', 'av', 'matplotlib', 'pydantic'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    for verb in ("extract", "fit", "evaluate", "predict", "report", "demo", "backbones", "fusions"):
        assert f"\n  {verb} " in done.stdout

import importlib
import sys
from pathlib import Path

import pytest
from absl import flags

from fcam_tf.models import BACKBONES
from tests.models.tiny import tiny_backbone

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run a tool with arguments in this process, and return what it prints."""
    # Those of tools that other tests imported may have the same names.
    modules = flags.FLAGS.flags_by_module_dict().items()
    others = [(name, flag) for name, found in modules if name[:6] == "tools." for flag in found]
    for _, flag in others:
        delattr(flags.FLAGS, flag.name)
    before = set(flags.FLAGS)
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ("efficientnetlite_b0", "resnet50"):
        monkeypatch.setitem(BACKBONES, name, tiny_backbone(name))

    def run(name, *arguments, **values):
        module = importlib.import_module(name)
        vars(module).update(values)
        del sys.modules[name]  # so that another test may import it, too
        flags.FLAGS([name, *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    yield run
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    for name, flag in others:
        flags.FLAGS[flag.name] = flag
        flags.FLAGS.register_flag_by_module(name, flag)

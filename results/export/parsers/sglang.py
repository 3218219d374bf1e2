"""SGLang's own reading of a config file: its merger, then the arguments of its server."""

import argparse
import io
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

from results.export.target import Files, NotInstalled


def arguments(files: Files) -> list[str]:
    """What ``sglang serve --config`` would refuse before it looks at the model or the GPU."""
    try:
        from sglang.srt.server_args import ServerArgs
        from sglang.srt.utils.server_args_config_parser import ConfigArgumentMerger
    except ImportError:
        raise NotInstalled("it comes with SGLang") from None
    parser = argparse.ArgumentParser(prog="sglang serve")
    ServerArgs.add_cli_args(parser)
    (text,) = files.values()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(text, "utf-8")
        said = io.StringIO()
        try:
            argv = ConfigArgumentMerger(parser).merge_config_with_args(["--config", str(path)])
            with redirect_stderr(said):
                parser.parse_args(argv)
        except ValueError as error:
            return [str(error)]
        except SystemExit:
            return [said.getvalue().strip().splitlines()[-1]]
    return []

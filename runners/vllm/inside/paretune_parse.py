"""What vLLM's own parser makes of arguments: ``python paretune_parse.py`` in vLLM's environment.

Reads ``{"argv": [subcommand, words], "names": [settings], "model": folder or null}`` on standard
input; prints ``{"settings": {name: value}, "version": text}`` or ``{"error": why}`` as the last
line. With the folder of a model the whole engine config is made: its settings must fit together.
"""

import dataclasses
import json
import sys
from typing import Any


def parse(argv: list[str]) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.cli.run_batch import RunBatchSubcommand
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(prog="vllm")
    subparsers = parser.add_subparsers(required=True, dest="subparser")
    for command in (ServeSubcommand(), RunBatchSubcommand()):
        command.subparser_init(subparsers)
    args = parser.parse_args(argv)
    if getattr(args, "model_tag", None):
        args.model = args.model_tag
    return AsyncEngineArgs.from_cli_args(args)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    import vllm

    engine = parse(asked["argv"])
    if asked["model"] is not None:
        engine.create_engine_config()
    settings = {name: plain(getattr(engine, name)) for name in asked["names"]}
    return {"settings": settings, "version": vllm.__version__}


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        said = answer(asked)
    except SystemExit:
        raise  # argparse has said why on standard error
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(said, default=str))


if __name__ == "__main__":
    main()

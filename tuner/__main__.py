"""`python -m tuner`, `tune` and `paretune`: the same program."""


def main() -> None:
    from tuner.cli import main as run

    run()


if __name__ == "__main__":
    main()

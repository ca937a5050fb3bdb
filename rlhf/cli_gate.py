"""`python -m rlhf gate-simulate`."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command("gate-simulate")
def gate_simulate(
    runs: Annotated[int, typer.Option(help="Simulated evaluations.", min=1)] = 2000,
    win_rate: Annotated[float, typer.Option(help="True win rate of the candidate.", min=0, max=1)] = 0.5,
    decisive_pairs: Annotated[
        int, typer.Option(help="Judgements that are no tie, in each evaluation.", min=0)
    ] = 200,
    position_bias: Annotated[
        float, typer.Option(help="Share of verdicts that name whatever is shown first.", min=0, max=0.95)
    ] = 0.0,
    tie_rate: Annotated[float, typer.Option(help="Share of pairs of equal worth.", min=0, max=0.95)] = 0.1,
    broken: Annotated[bool, typer.Option("--broken", help="Let a regression check fail.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rates.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Find out how often the gate would be right, before trusting it.

    An adapter that is no better (--win-rate 0.5) should almost never be promoted, a better one should mostly
    be, and one that breaks something (--broken) never.

    Example: [bold]python -m rlhf gate-simulate --runs 2000 --win-rate 0.6 --decisive-pairs 200 --seed 1[/]
    """
    import json
    from dataclasses import asdict

    from rlhf.simulate import Truth, simulate

    truth = Truth(win_rate, decisive_pairs, tie_rate, position_bias, broken)
    rates = simulate(truth, runs, seed)
    if as_json:
        found = {"truth": asdict(truth), "runs": runs, "seed": seed, "verdicts": [asdict(r) for r in rates]}
        typer.echo(json.dumps(found, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("verdict", "runs", "rate", "95 % interval", title=f"true win rate {win_rate:g}")
    for rate in rates:
        table.add_row(rate.verdict, str(rate.runs), f"{rate.share:.1%}", f"{rate.low:.1%} to {rate.high:.1%}")
    Console().print(table)

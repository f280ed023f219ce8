# SPDX-License-Identifier: Apache-2.0
"""``ballast testnet``: up, crash, status."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from keeper.commands.common import JsonOption, console, print_json, table
from keeper.commands.demonstration import progress
from keeper.logging import configure

app = typer.Typer(no_args_is_help=True, help="A chain of your own: node, contracts, people, a market and the keeper.")
FOLDER = Path(".ballast-testnet")
FolderOption = Annotated[Path, typer.Option("--folder", help="Where it lives; the same folder goes on where it was.")]
SHOW_S = 15.0


@app.command()
def up(
    folder: FolderOption = FOLDER,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget an earlier one in this folder.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of hourly price files; else simulated.")] = None,
    speed: Annotated[float, typer.Option(min=0.0, help="Hours of the market in one real hour.")] = 1.0,
    tick: Annotated[float, typer.Option(min=0.2, help="Seconds between two prices.")] = 2.0,
    block_time: Annotated[int, typer.Option(min=1, help="Seconds between blocks.")] = 1,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the node; another one if it is taken.")] = 8545,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated market.")] = 1,
    keeper: Annotated[bool, typer.Option(help="Run the keeper too.")] = True,
    people: Annotated[int | None, typer.Option(min=1, help="Traders who move in; all of 26 without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything and keep it running until Ctrl-C; the state is kept for the next time."""
    from keeper.testnet.home import Home
    from keeper.testnet.up import Testnet, Wishes, clear

    configure("CRITICAL")
    home = Home(folder)
    if fresh:
        clear(home)
    wishes = Wishes(data, speed, tick, block_time, seed, port, keeper, people)
    with progress() as show:
        testnet = Testnet(home, wishes, show)

        def end(_number: int, _frame: FrameType | None) -> None:
            testnet.ask_to_stop()

        try:
            running = testnet.start()
        except BaseException:
            testnet.stop()
            raise
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        print_json(running) if as_json else describe(running)
        testnet.watch(lambda prices: None if as_json else _tell(prices), SHOW_S)
    finally:
        if not as_json:
            console().print("stopping: market, keeper, node; the state is kept")
        testnet.stop()


@app.command()
def crash(
    folder: FolderOption = FOLDER,
    size: Annotated[float, typer.Option(min=-9.0, max=0.95, help="Share of every price; below 0 a rise.")] = 0.3,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long the fall takes.")] = 60.0,
) -> None:
    """Let every price of the running testnet fall."""
    from keeper.testnet.home import Home, write_json

    home = Home(folder)
    home.running()
    write_json(home.crash_file, {"size": size, "seconds": seconds})
    what = "fall" if size >= 0 else "rise"
    typer.echo(f"every price will {what} by {abs(size):.0%} within {seconds:g} s; watch the accounts and auctions")


@app.command()
def status(folder: FolderOption = FOLDER, as_json: JsonOption = False) -> None:
    """Addresses, keys and URLs of the running testnet."""
    from keeper.testnet.home import Home

    running = Home(folder).running()
    print_json(running) if as_json else describe(running)


def describe(running: dict[str, Any]) -> None:
    """Print what a person needs to use the testnet."""
    out = console()
    made = table("contracts", "name", "address")
    for name, address in sorted(running["contracts"].items()):
        made.add_row(name, address)
    for name, address in sorted(running["tokens"].items()):
        made.add_row(f"token {name}", address)
    out.print(made)
    keys = table("keys, worth nothing on any real chain", "who", "margin account", "address")
    for name, key in running["keys"].items():
        keys.add_row(name, "" if key["account"] is None else str(key["account"]), key["address"])
    out.print(keys)
    for name, key in running["keys"].items():
        out.print(f"private key of {name}: {key['private_key']}", markup=False, soft_wrap=True)
    for name in ("rpc_url", "page_url", "metrics_url", "manifest", "keeper_config", "market"):
        if running.get(name):
            out.print(f"{name.replace('_', ' ')}: {running[name]}", markup=False, soft_wrap=True)
    folder = Path(running["manifest"]).parents[2]
    where = shlex.quote(str(folder))
    env = f"BALLAST_CONFIG=keeper.toml RPC_URL_{running['chain_id']}={running['rpc_url']}"
    ask = f"another terminal asks it: cd {where}; export {env}; ballast accounts"
    crash = f"'ballast testnet crash --folder {where}' lets every price fall by 30 %; Ctrl-C here stops all"
    for line in (ask, crash):
        out.print(line, markup=False, soft_wrap=True)


def _tell(prices: dict[str, float]) -> None:
    console().print("  ".join(f"{symbol} {price:,.2f}" for symbol, price in prices.items()), markup=False)

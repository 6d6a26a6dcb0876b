"""HumanLLM as an asset graph: one folder per stage of the paper, each with its assets and the plain functions behind them."""

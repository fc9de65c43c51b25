"""The chain, typed: client, events, audit, pure reference model of the contracts."""

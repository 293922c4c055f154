"""A stand-in for the real upstream, on 127.0.0.1, for the local run and for tests.

`python -m local.simulator --help` shows how to run it by itself; in a test:

    simulator = Simulator(SimulatorSettings(seed=7))
    with serve(simulator) as base_url:
        requests.get(f"{base_url}/incidents/denial/", auth=("simulator", "simulator"), timeout=5)
"""

from local.simulator.exchange import Exchange, Reply
from local.simulator.faults import Fault
from local.simulator.generator import INCIDENT_TYPES, Generator
from local.simulator.known_faults import FAULTS
from local.simulator.server import Simulator, serve
from local.simulator.settings import REALISTIC_LATENCY, SettingsError, SimulatorSettings
from local.simulator.traffic import RequestRecord

__all__ = [
    "FAULTS",
    "INCIDENT_TYPES",
    "REALISTIC_LATENCY",
    "Exchange",
    "Fault",
    "Generator",
    "Reply",
    "RequestRecord",
    "SettingsError",
    "Simulator",
    "SimulatorSettings",
    "serve",
]

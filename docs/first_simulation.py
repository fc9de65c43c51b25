"""Four hospitals in virtual time; the third stops in the middle of a round and comes back two seconds later."""

from sim.consortium import Consortium
from sim.scenario import Crash, Scenario

scenario = Scenario(latency_seconds=(0.02, 0.2), loss=0.05, crashes=(Crash(member=2, at=60, back_after_seconds=2.0),))
consortium = Consortium.of_breast_cancer(members=4, rounds=5, seed=1, scenario=scenario)
quality = consortium.run()
print(f"together {quality.federated:.3f}, pooled {quality.pooled:.3f}, alone {[round(x, 3) for x in quality.local]}")
for round_id, result in sorted(consortium.world.nodes[0].results.items()):
    print(round_id, "dealers", sorted(result.dealer_set), "scores", result.scores)

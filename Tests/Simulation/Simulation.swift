/// A simulation of the outbox: the workers and the service as they are, with the time, the order of tasks, the store, the mail server and the
/// receiver of webhooks simulated. A seed decides all of it.
package enum Simulation {
  /// Runs the schedule of a seed. The calling thread must run no task.
  package static func run(seed: UInt64, on store: SimulatedStore = .memory(), isTraced: Bool = false) -> SimulationResult {
    let world = World(seed: seed, isTraced: isTraced)
    var schedule = Schedule(world, store)
    schedule.run()
    return SimulationResult(seed: seed, ledger: world.ledger, trace: world.trace)
  }
}

/// What a schedule showed.
package struct SimulationResult: Sendable {
  package var seed: UInt64
  /// The promises that were broken; none if the schedule passed.
  package var violations: [String]
  /// What happened, if it was traced.
  package var trace: [String]
  /// How much happened.
  package var counts: [String: Int]

  init(seed: UInt64, ledger: Ledger, trace: [String]?) {
    self.seed = seed
    violations = ledger.violations
    self.trace = trace ?? []
    counts = [
      "accepted": ledger.requests.values.count(where: \.isAccepted), "sends": ledger.sendCount, "duplicates": ledger.duplicateCount,
      "passwords": ledger.changes.count, "dead": ledger.jobs.count,
    ]
    for fate in ledger.fates.values {
      switch fate {
      case .split: counts["split", default: 0] += 1
      default: counts["\(fate)", default: 0] += 1
      }
    }
  }
}

import PasswordReset

/// What may happen in one schedule, and how often. Each seed leaves out many kinds of faults: a schedule in which everything
/// fails excuses everything.
struct Plan {
  var isOrderRandom: Bool
  /// Whether time passes and processes die while tasks are ready to run.
  var interrupts: Bool
  var policy = OutboxPolicy()
  var sendsNotice: Bool
  var steps: Int
  var maxProcesses: Int

  // The probability that a call of the store fails before the commit, fails after it, or takes seconds.
  var storeFailure: Double
  var storeLostReply: Double
  var storeDelay: Double

  // The probability that the mail server or the receiver of webhooks answers so.
  var transientRefusal: Double
  var permanentRefusal: Double
  var hang: Double
  var lostReply: Double
  var outage: Double

  var crashes: Bool
  var shutdowns: Bool
  var leaps: Bool
  var clockChanges: Bool
  var operatorActs: Bool
  var usersChange: Bool
  var confirms: Bool
  var outages: Bool

  init(_ random: inout RandomSource) {
    func rare(_ random: inout RandomSource, _ values: [Double]) -> Double { random.chance(0.5) ? 0 : random.pick(values) }
    isOrderRandom = random.chance(0.7)
    interrupts = random.chance(0.5)
    sendsNotice = random.chance(0.9)
    steps = 8 + random.below(25)
    maxProcesses = 1 + random.below(3)
    storeFailure = rare(&random, [0.02, 0.1])
    storeLostReply = rare(&random, [0.02, 0.1])
    storeDelay = rare(&random, [0.02, 0.1])
    transientRefusal = rare(&random, [0.1, 0.4])
    permanentRefusal = rare(&random, [0.1, 0.3])
    hang = rare(&random, [0.1, 0.3])
    lostReply = rare(&random, [0.1, 0.3])
    outage = rare(&random, [0.1, 0.5])
    crashes = random.chance(0.5)
    shutdowns = random.chance(0.3)
    leaps = random.chance(0.5)
    clockChanges = random.chance(0.25)
    operatorActs = random.chance(0.3)
    usersChange = random.chance(0.4)
    confirms = random.chance(0.7)
    outages = random.chance(0.3)
    policy.connections = 1 + random.below(3)
    policy.maxClaimed = random.pick([2, 4, 16, 128])
    policy.accountsPerRequest = random.pick([1, 2, 10])
    if random.chance(0.2) { policy.rate = RateLimit(count: 1, seconds: random.pick([1, 5, 60])) }
    if random.chance(0.3) { policy.emailLimits = [RateLimit(count: 1 + random.below(2), seconds: random.pick([60, 3600]))] }
    if random.chance(0.2) { policy.totalEmailLimits = [RateLimit(count: 1 + random.below(4), seconds: random.pick([60, 3600]))] }
  }
}

public import Foundation

/// What the worker may take its time for, and how much it may send.
public struct OutboxPolicy: Sendable {
  /// How many mails are handed over at once.
  public var connections = 4
  /// The most mails in a time; nil for no limit. They are spaced evenly.
  public var rate: RateLimit?
  /// How many entries are in hand at once. More than there are connections, so that what needs no mail does not wait for those that do.
  public var batch = 128
  /// How long after the last sign of life of a worker another one may take on what it had in hand.
  public var lease: TimeInterval = 6
  /// From when on a mail comes too late to be of use.
  public var lifetime: TimeInterval = 24 * 3600
  /// The wait after the first failure of a mail; it doubles with each.
  public var initialBackoff: TimeInterval = 1
  public var maxBackoff: TimeInterval = 600
  /// The longest wait before a mail server that was away is tried again.
  public var maxProbeInterval: TimeInterval = 60
  /// How often to look without being rung: for what another process left.
  public var pollInterval: TimeInterval = 5
  /// Django has none: how many mails one address gets.
  public var mailLimits: [RateLimit] = []
  /// Django has none: how many mails go out in all. Those beyond it wait.
  public var totalMailLimits: [RateLimit] = []
  /// Django has none: how many accounts with one address get a mail for one request.
  public var accountsPerRequest = 10
  /// How long a dead letter is kept.
  public var deadLetterLifetime: TimeInterval = 30 * 86400

  public init() {}

  /// Doubles with each attempt up to the longest, and varies by half, so that what failed together does not come back together.
  func backoff(after attempts: Int, longest: TimeInterval) -> TimeInterval {
    let wait = initialBackoff * pow(2, Double(min(max(attempts, 1), 30) - 1))
    return min(wait, longest) * .random(in: 0.5...1.5)
  }
}

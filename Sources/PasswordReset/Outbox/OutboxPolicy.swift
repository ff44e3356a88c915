public import Foundation

/// How much a worker may send, and how patient it is. Times are in seconds.
public struct OutboxPolicy: Sendable {
  /// How many emails are sent at once.
  public var connections = 4
  /// The highest rate of emails, which are spaced evenly; `nil` for no limit.
  public var rate: RateLimit?
  /// How many jobs the worker holds at once. More than ``connections``, so that jobs that send no email do not wait for those that do, unless that
  /// many emails wait for their turn. It also bounds the jobs that a request passes to the worker in memory.
  public var maxClaimed = 128
  /// How long after its last sign of life a worker's jobs may be claimed by another.
  public var lease: TimeInterval = 6
  /// The age at which an email is no longer of use.
  public var timeToLive: TimeInterval = 24 * 3600
  /// The wait after an email's first failure; it doubles with each further one.
  public var initialBackoff: TimeInterval = 1
  public var maxBackoff: TimeInterval = 600
  /// The longest wait before the next attempt while the mail server is away.
  public var maxProbeInterval: TimeInterval = 60
  /// How often the worker looks for jobs that another process added.
  public var pollInterval: TimeInterval = 5
  /// How many emails one address gets. Django has no such limit.
  public var emailLimits: [RateLimit] = []
  /// How many emails are sent in all; those beyond it wait. Django has no such limit.
  public var totalEmailLimits: [RateLimit] = []
  /// How many accounts that share an address get an email for one request. Django has no such limit.
  public var accountsPerRequest = 10
  public var deadLetterLifetime: TimeInterval = 30 * 86400

  /// Whether a receiver may ask for a wait of up to ``maxBackoff`` after the first attempt.
  var honorsRetryAfter = false

  public init() {}

  /// Draws a random number of seconds. The simulation replaces it, so that a seed decides all waits.
  package var random: @Sendable (ClosedRange<TimeInterval>) -> TimeInterval = { .random(in: $0) }

  /// Returns a random delay before a job starts, which separates the worker's activity from the response to the request. It is too short to matter to
  /// an email.
  static func startDelay(_ random: (ClosedRange<TimeInterval>) -> TimeInterval) -> TimeInterval { random(0.005...0.03) }

  /// Returns when a job starts that was committed at `date`. All starts within five milliseconds are one, so that the worker wakes up once
  /// for them.
  static func start(after date: Date, _ random: (ClosedRange<TimeInterval>) -> TimeInterval) -> Date {
    let start = date.addingTimeInterval(startDelay(random)).timeIntervalSince1970
    return Date(timeIntervalSince1970: (start * 200).rounded(.up) / 200)
  }

  /// Returns the wait after `attempts` failures: it doubles up to `longest`, and varies by half so that emails that failed together are not all
  /// attempted together.
  func backoff(after attempts: Int, longest: TimeInterval) -> TimeInterval {
    let wait = initialBackoff * pow(2, Double(min(max(attempts, 1), 30) - 1))
    return min(wait, longest) * random(Self.spread)
  }

  /// How many webhooks are sent at once.
  public static let webhookConnections = 4

  /// The policy for webhooks: as for emails, but without their rate and limits, and with fewer jobs held at once.
  public var forWebhooks: OutboxPolicy {
    var policy = self
    policy.connections = Self.webhookConnections
    policy.rate = nil
    policy.honorsRetryAfter = true
    policy.maxClaimed = min(maxClaimed, 8 * Self.webhookConnections)
    return policy
  }

  private static let spread: ClosedRange<TimeInterval> = 0.5...1.5

  /// The longest waits that ``backoff(after:longest:)`` returns.
  var longestWait: OutboxWait {
    OutboxWait(
      first: (honorsRetryAfter ? maxBackoff : initialBackoff) * Self.spread.upperBound,
      longest: max(maxBackoff, maxProbeInterval) * Self.spread.upperBound)
  }
}
